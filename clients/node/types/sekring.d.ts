/**
 * @typedef {object} Logger
 * @property {(message: string) => void} info
 * @property {(message: string) => void} warn
 * @property {(message: string) => void} error
 */
/**
 * @typedef {object} SekringOptions
 * @property {string | URL} [url] where the service is; default: `SEKRING_URL`
 * @property {string} [token] of the role `gateway`; default: `SEKRING_TOKEN`
 * @property {string} [gateway] name of this gateway, in the audit trail and for `min_reporters`
 * @property {string} [build] its library and version: what WhatsApp refuses as outdated
 * @property {number} [timeoutMs] deadline of every request; default 5,000
 * @property {number} [stalenessMs] how old an answer from memory may be if the network fails in
 *   silence; default 20,000: the service's heartbeat (15 s) and a little
 * @property {number} [flushAfterMs] how long a report waits for others, at most; default 20
 * @property {number} [reportsMax] reports that wait for the service, at most; default 10,000
 * @property {boolean} [keepProcessAlive] whether an open client keeps the process alive; default no
 * @property {Logger} [logger] is told when the service is away or back, and of what is lost; default
 *   `console`
 */
/**
 * @typedef {object} Events
 * @property {[transition: Transition]} transition a breaker has changed, as the feed tells it
 * @property {[]} live what is known from memory is current from now on
 * @property {[error: Error]} degraded the service is away: this client decides by itself
 * @property {[]} recovered the service decides again, and has learnt what was decided without it
 * @property {[drop: { instanceId: string, why: string, dropped: number }]} dropped a report was given
 *   up
 */
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
     * if it had called `attempt.connected()` itself, the connection has ended on purpose by then. Where
     * the connection outlives `connect`, tell the attempt when it ends.
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
export type Logger = {
    info: (message: string) => void;
    warn: (message: string) => void;
    error: (message: string) => void;
};
export type SekringOptions = {
    /**
     * where the service is; default: `SEKRING_URL`
     */
    url?: string | URL | undefined;
    /**
     * of the role `gateway`; default: `SEKRING_TOKEN`
     */
    token?: string | undefined;
    /**
     * name of this gateway, in the audit trail and for `min_reporters`
     */
    gateway?: string | undefined;
    /**
     * its library and version: what WhatsApp refuses as outdated
     */
    build?: string | undefined;
    /**
     * deadline of every request; default 5,000
     */
    timeoutMs?: number | undefined;
    /**
     * how old an answer from memory may be if the network fails in
     * silence; default 20,000: the service's heartbeat (15 s) and a little
     */
    stalenessMs?: number | undefined;
    /**
     * how long a report waits for others, at most; default 20
     */
    flushAfterMs?: number | undefined;
    /**
     * reports that wait for the service, at most; default 10,000
     */
    reportsMax?: number | undefined;
    /**
     * whether an open client keeps the process alive; default no
     */
    keepProcessAlive?: boolean | undefined;
    /**
     * is told when the service is away or back, and of what is lost; default
     * `console`
     */
    logger?: Logger | undefined;
};
export type Events = {
    /**
     * a breaker has changed, as the feed tells it
     */
    transition: [transition: Transition];
    /**
     * what is known from memory is current from now on
     */
    live: [];
    /**
     * the service is away: this client decides by itself
     */
    degraded: [error: Error];
    /**
     * the service decides again, and has learnt what was decided without it
     */
    recovered: [];
    /**
     * a report was given
     * up
     */
    dropped: [drop: {
        instanceId: string;
        why: string;
        dropped: number;
    }];
};
import { EventEmitter } from "node:events";
import { Attempt } from "./attempt.js";
import type { Outcome } from "./model.js";
import type { Verdict } from "./model.js";
import type { Transition } from "./model.js";
