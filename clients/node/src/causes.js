/** What a thrown error says about why a connection failed. */

/** @import { Failure } from "./model.js" */

/** Node's, c-ares' and OpenSSL's error codes, by the kind of failure that they mean. */
const KINDS = new Map([
  ["ENOTFOUND", "dns"],
  ["EAI_AGAIN", "dns"],
  ["ENODATA", "dns"],
  ["ECONNREFUSED", "refused"],
  ["EHOSTUNREACH", "refused"],
  ["ENETUNREACH", "refused"],
  ["ETIMEDOUT", "timeout"],
  ["ESOCKETTIMEDOUT", "timeout"],
  ["UND_ERR_CONNECT_TIMEOUT", "timeout"],
  ["UND_ERR_HEADERS_TIMEOUT", "timeout"],
  ["UND_ERR_BODY_TIMEOUT", "timeout"],
  ["ECONNRESET", "disconnected"],
  ["ECONNABORTED", "disconnected"],
  ["EPIPE", "disconnected"],
  ["UND_ERR_SOCKET", "disconnected"],
  ["EPROTO", "tls"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "tls"],
  ["SELF_SIGNED_CERT_IN_CHAIN", "tls"],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "tls"],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "tls"],
]);

/** How deep causes are followed: `fetch` wraps once, an `AggregateError` once more. */
const DEPTH_MAX = 4;

const TEMPORARY_BAN = 402;

/** Above this, the end of a ban is a Unix time in seconds; else a number of seconds. */
const UNIX_TIME_FROM_S = 1_000_000_000;

const YEAR_MS = 31_536_000_000;

/** The largest code that the service takes. */
const CODE_MAX = 65_535;

/**
 * The failure that an error stands for: a Boom as Baileys throws it by its code, others by what
 * they, or their causes, carry.
 * @param {unknown} error
 * @returns {Failure}
 */
export function failureOf(error) {
  const detail = wordsOf(error);
  const code = boomCode(error);
  if (code !== undefined) return { protocol: "baileys", code, detail, ...banIn(error, code) };
  return { kind: kindIn(error, DEPTH_MAX) ?? "unknown", detail };
}

/**
 * The disconnect code in a Boom, which Baileys' errors are.
 * @param {any} error
 * @returns {number | undefined}
 */
export function boomCode(error) {
  const code = error?.output?.statusCode;
  return Number.isInteger(code) && code >= 0 && code <= CODE_MAX ? code : undefined;
}

/**
 * How long a temporary ban lasts, as WhatsApp says it: in seconds, or as a Unix time.
 * @param {any} error
 * @param {number} code
 */
function banIn(error, code) {
  const expire = Number(error.data?.expire);
  if (code !== TEMPORARY_BAN || !(expire > 0)) return {};
  const seconds = expire > UNIX_TIME_FROM_S ? expire - Date.now() / 1000 : expire;
  return { banExpiresInMs: Math.min(YEAR_MS, Math.max(1, Math.round(seconds * 1000))) };
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function wordsOf(error) {
  const words = error instanceof Error ? error.message || error.name : String(error);
  return words.slice(0, 300);
}

/**
 * @param {any} error
 * @param {number} depth
 * @returns {string | undefined}
 */
function kindIn(error, depth) {
  if (depth === 0 || error === null || typeof error !== "object") return undefined;
  const code = String(error.code ?? "");
  if (KINDS.has(code)) return KINDS.get(code);
  if (code.startsWith("ERR_TLS_") || code.startsWith("ERR_SSL_") || code.startsWith("CERT_"))
    return "tls";
  if (error.name === "TimeoutError") return "timeout";
  return kindIn(error.cause ?? error.errors?.[0], depth - 1);
}
