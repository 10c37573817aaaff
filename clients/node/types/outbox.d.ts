/**
 * @typedef {object} Report
 * @property {string} instanceId
 * @property {Readonly<Record<string, unknown>>} body as the service takes it, without its age
 * @property {number} atMs when it happened (`performance.now()`)
 * @property {(verdict: Verdict) => void} settle
 * @property {(error: Error) => void} fail
 * @property {() => void} decide settles it without the service
 */
/**
 * @typedef {object} OutboxHooks
 * @property {() => boolean} isAway whether the service is known to be away: nothing is sent by itself
 * @property {(error: SekringUnavailable) => void} onAway the service did not take them
 * @property {(report: Report, why: string) => void} onDropped
 */
/**
 * How a batch ended: there was none, the service took it, or the service is away or refuses the
 * token, and it waits.
 * @typedef {"empty" | "taken" | "away" | "refused"} End
 */
/** What waits for the service. */
export class Outbox {
    /**
     * @param {Transport} transport
     * @param {Knowledge} knowledge
     * @param {Tracing} tracing
     * @param {{ most: number, afterMs: number } & OutboxHooks} options
     */
    constructor(transport: Transport, knowledge: Knowledge, tracing: Tracing, { most, afterMs, ...hooks }: {
        most: number;
        afterMs: number;
    } & OutboxHooks);
    /** Reports that were given up. */
    dropped: number;
    /** How many wait, or are on their way. */
    get size(): number;
    /** Whether something of the instance waits. @param {string} name */
    has(name: string): boolean;
    /** Have it sent, soon. @param {Report} report */
    add(report: Report): void;
    /**
     * Send all that waits, and what comes meanwhile. Never fails.
     * @returns {Promise<boolean>} false: the service was not there to take it
     */
    flush(): Promise<boolean>;
    /**
     * Send what waits by now: however fast more comes, this has an end. Never fails.
     * @returns {Promise<boolean>} false: the service was not there to take it
     */
    catchUp(): Promise<boolean>;
    /** Send what waits of an instance, and what is in front of it. @param {string} name */
    tell(name: string): Promise<void>;
    /** Settle what waits without the service, which is away: it is told later. */
    decide(): void;
    /** Give up whatever waits; how many that was. */
    close(): number;
    #private;
}
export type Report = {
    instanceId: string;
    /**
     * as the service takes it, without its age
     */
    body: Readonly<Record<string, unknown>>;
    /**
     * when it happened (`performance.now()`)
     */
    atMs: number;
    settle: (verdict: Verdict) => void;
    fail: (error: Error) => void;
    /**
     * settles it without the service
     */
    decide: () => void;
};
export type OutboxHooks = {
    /**
     * whether the service is known to be away: nothing is sent by itself
     */
    isAway: () => boolean;
    /**
     * the service did not take them
     */
    onAway: (error: SekringUnavailable) => void;
    onDropped: (report: Report, why: string) => void;
};
/**
 * How a batch ended: there was none, the service took it, or the service is away or refuses the
 * token, and it waits.
 */
export type End = "empty" | "taken" | "away" | "refused";
import type { Transport } from "./transport.js";
import type { Knowledge } from "./knowledge.js";
import type { Tracing } from "./tracing.js";
import type { Verdict } from "./model.js";
import { SekringUnavailable } from "./errors.js";
