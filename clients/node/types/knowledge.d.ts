/**
 * What was last known of an instance.
 * @typedef {object} Word
 * @property {State} state
 * @property {number} epoch
 * @property {number} failures
 * @property {number} attempts
 * @property {string} cause
 * @property {string} reason
 * @property {number | null} untilMs when the state ends by itself (the client's clock); `null`: never
 * @property {number} atMs when it was said (the client's clock)
 */
/**
 * When a question was asked, to tell whether something happened until its answer came.
 * @typedef {{ events: number, stream: number, atMs: number }} Asked
 */
/** Knowledge of the fleet, as far as this client has asked for it. */
export class Knowledge {
    /** @param {() => number} clock milliseconds that never go back */
    constructor(clock: () => number);
    /** Nothing said so far is known to be current: events may be missing. */
    forgetCurrent(): void;
    /** @param {Transition} transition */
    take(transition: Transition): void;
    /**
     * Note that the service is asked something.
     * @returns {Asked}
     */
    ask(): Asked;
    /**
     * Keep what the service said.
     * @param {string} name
     * @param {Asked} asked
     * @param {Partial<Word> & { state: State, epoch: number, failures: number }} said
     */
    learn(name: string, asked: Asked, said: Partial<Word> & {
        state: State;
        epoch: number;
        failures: number;
    }): void;
    /**
     * @param {string} name
     * @param {Asked} asked
     * @param {Admission} admission
     */
    learnAdmission(name: string, asked: Asked, { state, epoch, failures, retryAfterMs, cause, reason }: Admission): void;
    /**
     * @param {Asked} asked
     * @param {any} snapshot as the service sends it
     */
    learnSnapshot(asked: Asked, snapshot: any): void;
    /**
     * @param {string} name
     * @param {Asked} asked
     * @param {Verdict} verdict
     */
    learnVerdict(name: string, asked: Asked, { state, epoch, failures, retryAfterMs, retryAttempts, tripped }: Verdict): void;
    /**
     * The service's word, if nothing has changed since; a time that it named has passed: none.
     * @param {string} name
     * @returns {Word | undefined}
     */
    current(name: string): Word | undefined;
    /**
     * What a word that refuses says to a permit.
     * @param {string} name
     * @param {Word} word
     * @returns {Admission}
     */
    refusal(name: string, word: Word): Admission;
    /**
     * What there is to say of an attempt that nobody asked for.
     * @param {string} name
     * @param {boolean} degraded
     * @returns {Admission}
     */
    unasked(name: string, degraded: boolean): Admission;
    /**
     * What was last known, however long ago.
     * @param {string} name
     */
    last(name: string): Word | undefined;
    /**
     * Take note that the instance is changing: by an event, or by this client.
     * @param {string} name
     */
    touch(name: string): void;
    /** The policy in force for an instance, as far as it is known. @param {string} name */
    policy(name: string): Readonly<Policy>;
    /** Instances whose own policy is known. */
    policyNames(): string[];
    /** @param {string} name */
    hasPolicy(name: string): boolean;
    /** @param {Policy} policy */
    setFleetPolicy(policy: Policy): void;
    /**
     * @param {string} name
     * @param {Policy} policy
     */
    setPolicy(name: string, policy: Policy): void;
    #private;
}
/**
 * What was last known of an instance.
 */
export type Word = {
    state: State;
    epoch: number;
    failures: number;
    attempts: number;
    cause: string;
    reason: string;
    /**
     * when the state ends by itself (the client's clock); `null`: never
     */
    untilMs: number | null;
    /**
     * when it was said (the client's clock)
     */
    atMs: number;
};
/**
 * When a question was asked, to tell whether something happened until its answer came.
 */
export type Asked = {
    events: number;
    stream: number;
    atMs: number;
};
import type { Transition } from "./model.js";
import type { State } from "./model.js";
import type { Admission } from "./model.js";
import type { Verdict } from "./model.js";
import type { Policy } from "./model.js";
