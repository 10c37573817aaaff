/** @import { Admission, Failure, Outcome, Verdict } from "./model.js" */
/**
 * Takes outcomes; `ofAttempt`: the attempt's own, not of the connection that came of it.
 * @typedef {(outcome: Outcome, ofAttempt: boolean) => Promise<Verdict>} Reporter
 */
/**
 * A permitted attempt. Tell it how it goes on: `connected()`, then `failed()` or `disconnected()`
 * when the connection has ended; or one of these two alone. Each is told once: a second call returns
 * what the first one did. Their promises may be left alone: none causes an unhandled rejection.
 */
export class Attempt {
    /**
     * @param {Admission} admission
     * @param {Reporter} report
     */
    constructor(admission: Admission, report: Reporter);
    instanceId: string;
    /** Names it in its outcome; `null` where the service was not asked. */
    id: string | null;
    /** Under which it was permitted: if the breaker trips or is reset, its outcome is late. */
    epoch: number;
    state: import("./model.js").State;
    /** Failures inside the window when it was permitted. */
    failures: number;
    /** How long to wait before connecting, in ms. */
    backoffMs: number;
    /** Permitted without the service, or by a service without Redis. */
    degraded: boolean;
    /** Whether it is `connecting`, `connected` or `ended`. */
    get stage(): "connecting" | "connected" | "ended";
    /**
     * Wait out the backoff; false if `signal` was aborted meanwhile.
     * @param {{ signal?: AbortSignal }} [options]
     */
    wait({ signal }?: {
        signal?: AbortSignal;
    }): Promise<boolean>;
    /**
     * It is connected. The service credits that once it has lasted (`stable_after_ms`).
     * @returns {Promise<Verdict>}
     */
    connected(): Promise<Verdict>;
    /**
     * It failed, or the connection was lost.
     * @param {Failure | Error} [failure] how, in the service's words or as a protocol's code; or the
     *   error that was thrown
     * @returns {Promise<Verdict>}
     */
    failed(failure?: Failure | Error): Promise<Verdict>;
    /**
     * It was ended on purpose, or nothing came of the attempt: no failure.
     * @returns {Promise<Verdict>}
     */
    disconnected(): Promise<Verdict>;
    #private;
}
/**
 * Takes outcomes; `ofAttempt`: the attempt's own, not of the connection that came of it.
 */
export type Reporter = (outcome: Outcome, ofAttempt: boolean) => Promise<Verdict>;
import type { Verdict } from "./model.js";
import type { Failure } from "./model.js";
import type { Admission } from "./model.js";
import type { Outcome } from "./model.js";
