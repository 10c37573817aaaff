/**
 * Baileys under the breaker: `guardBaileys` reports what a socket goes through, `connectGuarded` is
 * the loop around `makeWASocket`.
 *
 * Baileys tells of the end of a connection by `connection.update` with `connection: "close"` and the
 * error as `lastDisconnect.error`, a Boom whose `output.statusCode` is its `DisconnectReason`. The
 * codes go to the service as they are: it has the table.
 */

import { boomCode, failureOf, wordsOf } from "./causes.js";
import { SekringInvalidInput, SekringRefused } from "./errors.js";
import { instanceId as checkedId } from "./ids.js";
import { REFUSING } from "./model.js";
import { sleep, within } from "./waiting.js";

/** @import { Attempt } from "./attempt.js" */
/** @import { Transition, Verdict } from "./model.js" */
/** @import { Sekring } from "./sekring.js" */

const LOGGED_OUT = 401;
const TIMED_OUT = 408;
const RESTART_REQUIRED = 515;

/** What Baileys says when its QR codes have run out; its code is that of a lost connection. */
const QR_OVER = "QR refs attempts ended";

/** A connection that is told to end is given up after so long, in ms. */
const END_WITHIN_MS = 5_000;

/** A socket that neither connects nor fails nor shows a QR code is given up after so long, in ms. */
const CONNECT_WITHIN_MS = 90_000;

/** A refused loop asks again after so long at the latest, if it cannot be told of a reset, in ms. */
const ASK_AGAIN_MS = 30_000;

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

/**
 * Report what happens to a socket of Baileys. Call it right after `makeWASocket`.
 * @param {BaileysSocket} socket
 * @param {{ sekring: Sekring, instanceId: string, attempt?: Attempt }} options `attempt`: the permit
 *   under which it connects; without one it is reported all the same
 * @returns {GuardedSocket}
 */
export function guardBaileys(socket, { sekring, instanceId, attempt }) {
  if (typeof socket?.ev?.on !== "function")
    throw new SekringInvalidInput("socket is none of Baileys': it has no ev.on.", "socket");
  return new GuardedSocket(socket, attempt ?? sekring.adopt(instanceId));
}

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
 * Keep a session connected: ask before every `makeWASocket`, wait as long as the breaker recommends,
 * report how it ended, and again; until a person is needed, or `stop()` is called.
 *
 * `makeSocket` makes one socket, and whatever belongs to it (its listeners, `creds.update` first).
 * @param {(attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>} makeSocket
 * @param {object} options
 * @param {Sekring} options.sekring
 * @param {string} options.instanceId
 * @param {"wait" | "stop"} [options.whenRefused] whether to wait while the breaker refuses, which is
 *   the default, or to end
 * @param {(refusal: SekringRefused) => void} [options.onRefused] is told of every refusal
 * @param {(ending: Ending) => void} [options.onEnded] is told of the end of every connection
 * @returns {GuardedSession}
 */
export function connectGuarded(makeSocket, options) {
  checkedId(options.instanceId);
  return new GuardedSession(makeSocket, options);
}

/** A session that is kept connected. */
export class GuardedSession {
  #makeSocket;
  #options;
  #stopping = new AbortController();
  /** @type {GuardedSocket | undefined} */
  #guarded;

  /**
   * @param {(attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>} makeSocket
   * @param {Parameters<typeof connectGuarded>[1]} options
   */
  constructor(makeSocket, options) {
    this.#makeSocket = makeSocket;
    this.#options = options;
    /** Why it ended; never rejects. @type {Promise<Ending>} */
    this.ended = this.#run().catch((error) => ({ reason: "failed", detail: wordsOf(error), error }));
  }

  /**
   * End the connection, and connect no more.
   * @returns {Promise<Ending>}
   */
  async stop() {
    this.#stopping.abort();
    await this.#guarded?.end();
    return this.ended;
  }

  /** @returns {Promise<Ending>} */
  async #run() {
    for (;;) {
      const attempt = await this.#permitted();
      if (!("stage" in attempt)) return attempt;
      const ending = await this.#connect(attempt);
      this.#options.onEnded?.(ending);
      if (this.#stopping.signal.aborted) return { ...ending, reason: "ended" };
      if (!["lost", "restart", "banned"].includes(ending.reason)) return ending;
    }
  }

  /**
   * Ask until an attempt is permitted.
   * @returns {Promise<Attempt | Ending>}
   */
  async #permitted() {
    const { sekring, instanceId, whenRefused = "wait", onRefused } = this.#options;
    while (!this.#stopping.signal.aborted) {
      // Before asking: a reset that comes right after the refusal is not missed.
      const changed = this.#untilChanged();
      try {
        return await sekring.permit(instanceId);
      } catch (error) {
        if (!(error instanceof SekringRefused)) throw error;
        onRefused?.(error);
        const detail = error.message;
        if (error.retryAfterMs === null) return { reason: "needs_person", detail, error };
        if (whenRefused === "stop") return { reason: "refused", detail, error };
        const patience = sekring.current ? Infinity : ASK_AGAIN_MS;
        await sleep(Math.min(error.retryAfterMs, patience), { signal: changed.signal });
      } finally {
        changed.forget();
      }
    }
    return { reason: "ended", detail: "stopped while it waited for a permit" };
  }

  /** Aborted when the breaker may permit again, or when this session is stopped. */
  #untilChanged() {
    const { sekring, instanceId } = this.#options;
    const changed = new AbortController();
    const onTransition = (/** @type {Transition} */ { instance_id: name, after }) => {
      if (name === instanceId && after && !REFUSING.has(after)) changed.abort();
    };
    const onStop = () => changed.abort();
    sekring.on("transition", onTransition);
    this.#stopping.signal.addEventListener("abort", onStop, { once: true });
    const forget = () => {
      sekring.off("transition", onTransition);
      this.#stopping.signal.removeEventListener("abort", onStop);
    };
    return { signal: changed.signal, forget };
  }

  /**
   * @param {Attempt} attempt
   * @returns {Promise<Ending>}
   */
  async #connect(attempt) {
    const { sekring, instanceId } = this.#options;
    if (!(await attempt.wait({ signal: this.#stopping.signal }))) {
      await attempt.disconnected().catch(() => undefined);
      return { reason: "ended", detail: "stopped before it connected" };
    }
    try {
      const socket = await this.#makeSocket(attempt);
      this.#guarded = guardBaileys(socket, { sekring, instanceId, attempt });
    } catch (error) {
      const verdict = await attempt.failed(failureOf(error)).catch(() => undefined);
      return { reason: "lost", detail: wordsOf(error), verdict, error };
    }
    if (this.#stopping.signal.aborted) this.#guarded.end();
    const ending = await this.#guarded.ended;
    this.#guarded = undefined;
    return ending;
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
