/**
 * A socket of Baileys that is reported on.
 *
 * Baileys tells of the end of a connection by `connection.update` with `connection: "close"` and
 * the error as `lastDisconnect.error`, a Boom whose `output.statusCode` is its `DisconnectReason`.
 * The codes go to the service as they are: it has the table.
 */

import { boomCode, failureOf, wordsOf } from "./causes.js";
import { SekringInvalidInput } from "./errors.js";
import { within } from "./waiting.js";

/** @import { Attempt } from "./attempt.js" */
/** @import { Verdict } from "./model.js" */

const LOGGED_OUT = 401;
const TIMED_OUT = 408;
const RESTART_REQUIRED = 515;

/** What Baileys says when its QR codes have run out; its code is that of a lost connection. */
const QR_OVER = "QR refs attempts ended";

/** A connection that is told to end is given up after so long, in ms. */
const END_WITHIN_MS = 5_000;

/** A socket that neither connects nor fails nor shows a QR code is given up after that, in ms. */
const CONNECT_WITHIN_MS = 90_000;

/**
 * The part of Baileys' socket that is needed. `makeWASocket` returns one.
 * @typedef {object} BaileysSocket
 * @property {{
 *   on(event: "connection.update", listener: (update: any) => void): void,
 *   off(event: "connection.update", listener: (update: any) => void): void,
 * }} ev
 * @property {(error: Error | undefined) => unknown} end
 * @property {{ on(event: string, listener: (...met: any[]) => void): unknown }} [ws]
 */

/**
 * How a connection ended, and what follows from it:
 *
 * - `lost`: it failed; try again at the pace of `verdict`
 * - `restart`: WhatsApp asks for a new connection after pairing; connect again
 * - `banned`: until the ban ends
 * - `conflict`: another connection has replaced it: whoever owns the session goes on
 * - `needs_person`: logged out, locked or banned for good: pair it anew
 * - `outdated`: WhatsApp refuses this build of the gateway
 * - `unpaired`: nobody scanned its QR codes
 * - `logged_out`: this side has logged out
 * - `ended`: this side has ended it
 * - `refused`: the breaker refuses, and the loop was told not to wait
 * - `failed`: an error of the loop's own, such as a token that the service does not take
 * @typedef {object} Ending
 * @property {"lost" | "restart" | "banned" | "conflict" | "needs_person" | "outdated" | "unpaired"
 *   | "logged_out" | "ended" | "refused" | "failed"} reason
 * @property {string} detail in words, for a person
 * @property {number} [code] Baileys' `DisconnectReason`
 * @property {Verdict} [verdict] what the breaker made of it
 * @property {unknown} [error] what was thrown
 */

/** A socket that is reported on. */
export class GuardedSocket {
  #socket;
  #attempt;
  #onPurpose = false;
  #patience;
  /** @type {(ending: Ending) => void} */
  #settle = () => {};
  #listener = (/** @type {any} */ update) => this.#take(update);

  /**
   * @param {BaileysSocket} socket
   * @param {Attempt} attempt
   */
  constructor(socket, attempt) {
    if (typeof socket?.ev?.on !== "function")
      throw new SekringInvalidInput("socket is none of Baileys': it has no ev.on.", "socket");
    this.#socket = socket;
    this.#attempt = attempt;
    /** How it ended; never rejects. @type {Promise<Ending>} */
    this.ended = new Promise((settle) => (this.#settle = settle));
    socket.ev.on("connection.update", this.#listener);
    // Baileys listens to this event without doing anything, and then waits for ever.
    socket.ws?.on("unexpected-response", (request, response) => {
      request.destroy();
      this.#giveUp(`Unexpected server response: ${response.statusCode}`, response.statusCode);
    });
    this.#patience = setTimeout(
      () => this.#giveUp("neither connected nor failed in time", TIMED_OUT),
      CONNECT_WITHIN_MS,
    );
    this.#patience.unref();
  }

  /**
   * End the connection: no failure.
   * @returns {Promise<Ending>}
   */
  async end() {
    this.#onPurpose = true;
    const ending = (async () => this.#socket.end(undefined))().catch(() => {});
    // Baileys waits for the other side to close, which may be gone.
    if (!(await within(Promise.race([this.ended, ending.then(() => this.ended)]), END_WITHIN_MS)))
      await this.#close(undefined);
    return this.ended;
  }

  /**
   * End it with an error as Baileys makes them.
   * @param {string} words
   * @param {number} code
   */
  #giveUp(words, code) {
    const error = new Error(`WebSocket Error (${words})`);
    const boom = Object.assign(error, { output: { statusCode: code }, data: words });
    (async () => this.#socket.end(boom))().catch(() => {});
    this.#close(boom);
  }

  /** @param {any} update */
  #take(update) {
    // From a QR code on Baileys has timers of its own.
    if (update.qr || update.connection === "open") clearTimeout(this.#patience);
    if (update.connection === "open") this.#attempt.connected();
    else if (update.connection === "close") this.#close(update.lastDisconnect?.error);
  }

  /** @param {any} error */
  async #close(error) {
    this.#socket.ev.off("connection.update", this.#listener);
    clearTimeout(this.#patience);
    const code = boomCode(error);
    if (this.#onPurpose || error === undefined || error === null || isLogout(error, code)) {
      const verdict = await this.#attempt.disconnected().catch(() => undefined);
      const reason = isLogout(error, code) ? "logged_out" : "ended";
      this.#settle({ reason, detail: "ended by this side", code, verdict });
      return;
    }
    const detail = wordsOf(error);
    const verdict = await this.#attempt.failed(failureOf(error)).catch(() => undefined);
    this.#settle({ reason: reasonOf(verdict, code, detail), detail, code, verdict, error });
  }
}

/**
 * Whether this side has logged out: the service's own 401 carries what the server said.
 * @param {any} error
 * @param {number | undefined} code
 */
function isLogout(error, code) {
  return code === LOGGED_OUT && (error.data === null || error.data === undefined);
}

/**
 * What follows from what the breaker made of a failure.
 * @param {Verdict | undefined} verdict
 * @param {number | undefined} code
 * @param {string} detail
 * @returns {Ending["reason"]}
 */
function reasonOf(verdict, code, detail) {
  switch (verdict?.why) {
    case "permanent":
      return "needs_person";
    case "conflict":
      return "conflict";
    case "ban":
      return "banned";
    case "build":
      return "outdated";
    case "ignored":
      if (code === RESTART_REQUIRED) return "restart";
      return detail.includes(QR_OVER) ? "unpaired" : "lost";
    default:
      return "lost";
  }
}
