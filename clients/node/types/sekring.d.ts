/**
 * One Sekring service: `const sekring = new Sekring({ url, token })`.
 * @extends {EventEmitter<Events>}
 */
export class Sekring extends EventEmitter<Events> {
    /** @param {SekringOptions} options */
    constructor(options?: SekringOptions);
    /** Whether the service is away, so that this client decides by itself. */
    get degraded(): boolean;
    /** Whether refusals and `permitted()` are answered from memory now. */
    get current(): boolean;
    /** Reports that wait for the service. */
    get waiting(): number;
    /** Reports that were given up: too many waited, the service refused them, or it was closed. */
    get dropped(): number;
    /**
     * Ask for an attempt to connect.
     *
     * A refusal comes from memory where that is current. A permit is the service's own word, so that
     * the fleet's pace and probes hold; or, while it is away, what the policy in force says.
     * @param {string} id
     * @param {{ strong?: boolean }} [options] `strong`: ask Redis itself, past every memory
     * @returns {Promise<Attempt>}
     * @throws {SekringRefused} it may not connect now
     */
    permit(id: string, { strong }?: {
        strong?: boolean;
    }): Promise<Attempt>;
    /**
     * Whether the instance's breaker is not open: from memory where that is current, else the
     * service's word. Asks for no attempt, and changes nothing.
     * @param {string} id
     * @returns {Promise<boolean>}
     */
    permitted(id: string): Promise<boolean>;
    /**
     * Say how an attempt, or a live connection, ended, or that one lasts. It is sent with others, and
     * again until the service has it.
     *
     * The promise gives the service's verdict, or this client's own while the service is away. It may
     * be left alone.
     * @param {string} id
     * @param {Outcome} outcome
     * @returns {Promise<Verdict>}
     */
    report(id: string, outcome: Outcome): Promise<Verdict>;
    /**
     * Connect under the breaker: ask, wait out the backoff, run `connect`, and report how it ended.
     *
     * If `connect` throws, that is a failure, and thrown on. If it returns, the attempt is connected;
     * if it had called `attempt.connected()` itself, the connection has ended on purpose by then.
     * Where the connection outlives `connect`, tell the attempt when it ends.
     * @template T
     * @param {string} id
     * @param {(attempt: Attempt) => T | Promise<T>} connect
     * @param {{ signal?: AbortSignal, wait?: boolean }} [options] `wait: false`: without the backoff
     * @returns {Promise<T>}
     * @throws {SekringRefused} it may not connect now
     */
    guard<T>(id: string, connect: (attempt: Attempt) => T | Promise<T>, { signal, wait }?: {
        signal?: AbortSignal;
        wait?: boolean;
    }): Promise<T>;
    /**
     * A connection, or an attempt, that was begun without asking: to report on it all the same.
     * @param {string} id
     * @returns {Attempt}
     */
    adopt(id: string): Attempt;
    /**
     * Send what waits, for so long at most, and end. Everything asked from then on is refused.
     * @param {{ timeoutMs?: number }} [options]
     * @returns {Promise<{ unsent: number }>} reports that the service did not take in time
     */
    close({ timeoutMs }?: {
        timeoutMs?: number;
    }): Promise<{
        unsent: number;
    }>;
    [Symbol.asyncDispose](): Promise<void>;
    #private;
}
import type { Events } from "./voice.js";
import { EventEmitter } from "node:events";
import { Attempt } from "./attempt.js";
import type { Outcome } from "./model.js";
import type { Verdict } from "./model.js";
import type { SekringOptions } from "./options.js";
