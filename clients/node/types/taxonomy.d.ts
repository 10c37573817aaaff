/**
 * The kind of a failure, however it was described.
 * @param {Failure} failure
 * @returns {string}
 */
export function kindOf({ kind, protocol, code, detail }: Failure): string;
/**
 * What the service's table (`taxonomy.py`) says of failures: for decisions without the service
 * alone. While it is there, codes go to it as they are. A test holds the two together.
 */
/** @import { Failure } from "./model.js" */
/** @typedef {"count" | "terminal" | "ban" | "build" | "conflict" | "ignore"} Effect */
/**
 * Every kind of failure, and what it does to the breaker.
 * @type {Readonly<Record<string, Effect>>}
 */
export const EFFECTS: Readonly<Record<string, Effect>>;
export type Effect = "count" | "terminal" | "ban" | "build" | "conflict" | "ignore";
import type { Failure } from "./model.js";
