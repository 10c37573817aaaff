/** @import { Admission, OutcomeName, Verdict, Why } from "./model.js" */
/**
 * What is told of an attempt, or of a live connection.
 * @typedef {object} Told
 * @property {string} id
 * @property {OutcomeName} outcome
 * @property {string} [kind] of a failure
 * @property {string} [attemptId]
 * @property {number} [epoch] under which it was permitted
 * @property {number} [banMs] how long a ban lasts
 * @property {string} [gateway]
 */
/** One instance's breaker. */
export class Breaker extends Memory {
    /**
     * May it connect now?
     * @param {string} instanceId
     * @param {string} token names the attempt
     * @param {number} clock in ms
     * @param {number} chance 0 to 1
     * @returns {Admission}
     */
    permit(instanceId: string, token: string, clock: number, chance: number): Admission;
    /**
     * Take how an attempt, or a live connection, ended.
     * @param {string} instanceId
     * @param {Told} told
     * @param {number} clock in ms
     * @param {number} chance 0 to 1
     * @returns {Verdict}
     */
    report(instanceId: string, told: Told, clock: number, chance: number): Verdict;
    #private;
}
/**
 * What is told of an attempt, or of a live connection.
 */
export type Told = {
    id: string;
    outcome: OutcomeName;
    /**
     * of a failure
     */
    kind?: string | undefined;
    attemptId?: string | undefined;
    /**
     * under which it was permitted
     */
    epoch?: number | undefined;
    /**
     * how long a ban lasts
     */
    banMs?: number | undefined;
    gateway?: string | undefined;
};
import { Memory } from "./memory.js";
import type { Admission } from "./model.js";
import type { Verdict } from "./model.js";
import type { OutcomeName } from "./model.js";
