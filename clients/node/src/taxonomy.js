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
export const EFFECTS = Object.freeze({
  dns: "count",
  refused: "count",
  timeout: "count",
  tls: "count",
  websocket: "count",
  handshake: "count",
  proxy: "count",
  stream_error: "count",
  disconnected: "count",
  worker_crash: "count",
  unknown: "count",
  upstream: "count",
  logged_out: "terminal",
  locked: "terminal",
  banned: "terminal",
  temporary_ban: "ban",
  client_outdated: "build",
  bad_user_agent: "build",
  conflict: "conflict",
  pairing: "ignore",
});

/** What whatsmeow and Baileys call by the same number. */
const COMMON = {
  401: "logged_out",
  402: "temporary_ban",
  403: "locked",
  405: "client_outdated",
  406: "banned",
  409: "bad_user_agent",
  500: "upstream",
  503: "upstream",
  515: "pairing",
};

/** @type {Readonly<Record<string, Readonly<Record<number, string>>>>} */
const CODES = Object.freeze({
  baileys: { ...COMMON, 408: "timeout", 411: "logged_out", 428: "disconnected", 440: "conflict" },
  whatsmeow: {
    ...COMMON,
    101: "temporary_ban",
    102: "temporary_ban",
    103: "temporary_ban",
    104: "temporary_ban",
    106: "temporary_ban",
  },
});

/**
 * The kind of a failure, however it was described.
 * @param {Failure} failure
 * @returns {string}
 */
export function kindOf({ kind, protocol, code, detail = "" }) {
  if (kind !== undefined) return kind;
  if (protocol === undefined || code === undefined) return "unknown";
  const words = detail.toLowerCase();
  if (protocol === "baileys" && code === 408 && words.includes("qr refs")) return "pairing";
  if (protocol === "baileys" && words.includes("unexpected server response")) return "websocket";
  return CODES[protocol]?.[code] ?? "unknown";
}
