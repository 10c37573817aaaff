/** What a client is told when it is made, checked. */

import { optionalName, wholeNumber } from "./ids.js";
import { serviceUrl } from "./transport.js";

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
 *   silence; default 3,000
 * @property {number} [flushAfterMs] how long a report waits for others, at most; default 20
 * @property {number} [reportsMax] reports that wait for the service, at most; default 10,000
 * @property {boolean} [keepProcessAlive] whether an open client keeps the process alive; default no
 * @property {Logger} [logger] is told when the service is away or back, and of what is lost;
 *   default `console`
 */

/** @typedef {ReturnType<typeof settingsOf>} Settings */

/** @param {SekringOptions} options */
export function settingsOf(options) {
  const token = options.token || process.env["SEKRING_TOKEN"] || undefined;
  return Object.freeze({
    url: serviceUrl(options.url ?? process.env["SEKRING_URL"] ?? ""),
    token: optionalName(token, "token"),
    gateway: optionalName(options.gateway, "gateway"),
    build: optionalName(options.build, "build"),
    timeoutMs: wholeNumber(options.timeoutMs, "timeoutMs", 5_000),
    stalenessMs: wholeNumber(options.stalenessMs, "stalenessMs", 3_000),
    flushAfterMs: wholeNumber(options.flushAfterMs, "flushAfterMs", 20, { least: 0 }),
    reportsMax: wholeNumber(options.reportsMax, "reportsMax", 10_000),
    /** Whether the process may end although the client is open. */
    background: !options.keepProcessAlive,
    logger: options.logger ?? console,
  });
}
