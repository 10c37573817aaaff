/**
 * The failure that an error stands for: a Boom as Baileys throws it by its code, others by what
 * they, or their causes, carry.
 * @param {unknown} error
 * @returns {Failure}
 */
export function failureOf(error: unknown): Failure;
/**
 * The disconnect code in a Boom, which Baileys' errors are.
 * @param {any} error
 * @returns {number | undefined}
 */
export function boomCode(error: any): number | undefined;
/**
 * @param {unknown} error
 * @returns {string}
 */
export function wordsOf(error: unknown): string;
import type { Failure } from "./model.js";
