/**
 * The name with the earliest time; of several the first in the alphabet.
 * @param {Map<string, number>} times
 * @returns {string | undefined}
 */
export function first(times: Map<string, number>): string | undefined;
/**
 * What an instance's breaker remembers, and what time alone does to it (the service's
 * `local/memory.py`). Time is passed in, in ms.
 */
/** @import { Policy, State } from "./model.js" */
/** What happens next, and when. @typedef {{ at: number, happen: (at: number) => void }} Due */
/** An instance as it is remembered; `Breaker` adds what is asked of it and told to it. */
export class Memory {
    /** @param {Readonly<Policy>} policy */
    constructor(policy: Readonly<Policy>);
    /** @type {Readonly<Policy>} */
    policy: Readonly<Policy>;
    touched: number;
    /** @type {State} */
    state: State;
    epoch: number;
    /** When the state ends by itself; 0: never. */
    until: number;
    cause: string;
    reason: string;
    closed: number;
    level: number;
    terminal: string;
    banUntil: number;
    /** Failures that count, by the report's id. @type {Map<string, { at: number, kind: string }>} */
    window: Map<string, {
        at: number;
        kind: string;
    }>;
    /** When each gateway reported a failure last. @type {Map<string, number>} */
    reporters: Map<string, number>;
    /** Half-open: which attempt probes until when. @type {Map<string, number>} */
    probing: Map<string, number>;
    /** Half-open: whose success is credited when. @type {Map<string, number>} */
    proving: Map<string, number>;
    attempts: number;
    /** @type {"" | "connecting" | "connected"} */
    connection: "" | "connecting" | "connected";
    connectionSince: number;
    attemptUntil: number;
    proven: boolean;
    lastFailureAt: number;
    lastFailureKind: string;
    /**
     * Let everything happen that is due by `clock`; the instance's own time.
     * @param {number} clock
     */
    advance(clock: number): number;
    /**
     * @param {string} cause
     * @param {number} until 0: until a person acts
     * @param {number} at
     */
    open(cause: string, until: number, at: number): void;
    /** @param {number} at */
    close(at: number): void;
    clearWindow(): void;
    /**
     * @param {"" | "connecting" | "connected"} connection
     * @param {number} since
     */
    connect(connection: "" | "connecting" | "connected", since: number): void;
    endConnection(): void;
    /** Successes that are yet to be credited. @param {number} now */
    uncredited(now: number): Map<string, number>;
    /** The deadlines of all slots that are taken. @param {number} now */
    inFlight(now: number): number[];
    #private;
}
/**
 * What happens next, and when.
 */
export type Due = {
    at: number;
    happen: (at: number) => void;
};
import type { Policy } from "./model.js";
import type { State } from "./model.js";
