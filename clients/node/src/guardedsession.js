/** A session of Baileys that is kept connected, under the breaker. */

import { failureOf, wordsOf } from "./causes.js";
import { SekringRefused } from "./errors.js";
import { GuardedSocket } from "./guardedsocket.js";
import { REFUSING } from "./model.js";
import { sleep } from "./waiting.js";

/** @import { Attempt } from "./attempt.js" */
/** @import { BaileysSocket, Ending } from "./guardedsocket.js" */
/** @import { Transition } from "./model.js" */
/** @import { Sekring } from "./sekring.js" */

/** A refused loop that cannot be told of a reset asks again after so long at the latest, in ms. */
const ASK_AGAIN_MS = 30_000;

/** Endings after which it connects again. */
const GOES_ON = new Set(["lost", "restart", "banned"]);

/**
 * @typedef {object} SessionOptions
 * @property {Sekring} sekring
 * @property {string} instanceId
 * @property {"wait" | "stop"} [whenRefused] whether to wait while the breaker refuses, which is the
 *   default, or to end
 * @property {(refusal: SekringRefused) => void} [onRefused] is told of every refusal
 * @property {(ending: Ending) => void} [onEnded] is told of the end of every connection
 */

/**
 * Makes one socket, and whatever belongs to it.
 * @typedef {(attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>} MakeSocket
 */

/** A session that is kept connected. */
export class GuardedSession {
  #makeSocket;
  #options;
  #stopping = new AbortController();
  /** @type {GuardedSocket | undefined} */
  #guarded;

  /**
   * @param {MakeSocket} makeSocket
   * @param {SessionOptions} options
   */
  constructor(makeSocket, options) {
    this.#makeSocket = makeSocket;
    this.#options = options;
    /** Why it ended; never rejects. @type {Promise<Ending>} */
    this.ended = this.#run().catch((error) => ({
      reason: "failed",
      detail: wordsOf(error),
      error,
    }));
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
      if (!GOES_ON.has(ending.reason)) return ending;
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
    if (!(await attempt.wait({ signal: this.#stopping.signal }))) {
      await attempt.disconnected().catch(() => undefined);
      return { reason: "ended", detail: "stopped before it connected" };
    }
    try {
      const socket = await this.#makeSocket(attempt);
      this.#guarded = new GuardedSocket(socket, attempt);
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
