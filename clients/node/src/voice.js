/** What a client says, to its logger and to who listens. */

/** @import { EventEmitter } from "node:events" */
/** @import { Transition } from "./model.js" */
/** @import { Logger } from "./options.js" */

/** Dropped reports are logged so often at most, in ms. */
const SAY_EVERY_MS = 1_000;

/**
 * @typedef {object} Events
 * @property {[transition: Transition]} transition a breaker has changed, as the feed tells it
 * @property {[]} live what is known from memory is current from now on
 * @property {[error: Error]} degraded the service is away: this client decides by itself
 * @property {[]} recovered the service decides again, and has learnt what was decided without it
 * @property {[drop: { instanceId: string, why: string, dropped: number }]} dropped a report was
 *   given up
 */

/** The voice of one client. */
export class Voice {
  #emitter;
  #logger;
  #saidMs = -Infinity;

  /**
   * @param {EventEmitter<Events>} emitter
   * @param {Logger} logger
   */
  constructor(emitter, logger) {
    this.#emitter = emitter;
    this.#logger = logger;
  }

  /** @param {Error} error */
  sayAway(error) {
    const { message } = error;
    this.#logger.warn(`sekring: ${message} Deciding by the policy in force until it is back.`);
    this.tell("degraded", error);
  }

  sayBack() {
    this.#logger.info("sekring: the service is back and decides again.");
    this.tell("recovered");
  }

  /**
   * @param {string} instanceId
   * @param {string} why
   * @param {number} dropped in all
   */
  sayDropped(instanceId, why, dropped) {
    if (performance.now() - this.#saidMs >= SAY_EVERY_MS) {
      this.#saidMs = performance.now();
      const words = `a report on ${instanceId} was dropped (${why}); ${dropped} in all.`;
      this.#logger.error(`sekring: ${words}`);
    }
    this.tell("dropped", { instanceId, why, dropped });
  }

  /**
   * Emit; a listener that throws is its author's, and must not stop the client.
   * @param {any[]} event
   */
  tell(...event) {
    try {
      this.#emitter.emit(.../** @type {[any]} */ (event));
    } catch (error) {
      this.#logger.error(`sekring: a listener of ${event[0]} threw: ${error}`);
    }
  }
}
