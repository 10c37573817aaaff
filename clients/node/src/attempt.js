/** One try to connect, and the connection that may come of it. */

import { failureOf } from "./causes.js";
import { sleep } from "./waiting.js";

/** @import { Admission, Failure, Outcome, Verdict } from "./model.js" */

/**
 * Takes outcomes; `ofAttempt`: the attempt's own, not of the connection that came of it.
 * @typedef {(outcome: Outcome, ofAttempt: boolean) => Promise<Verdict>} Reporter
 */

/**
 * A permitted attempt. Tell it how it goes on: `connected()`, then `failed()` or `disconnected()`
 * when the connection has ended; or one of these two alone. Each is told once: a second call returns
 * what the first one did. Their promises may be left alone: none causes an unhandled rejection.
 */
export class Attempt {
  #report;
  /** @type {"connecting" | "connected" | "ended"} */
  #stage = "connecting";
  /** @type {Promise<Verdict> | undefined} */
  #told;

  /**
   * @param {Admission} admission
   * @param {Reporter} report
   */
  constructor(admission, report) {
    this.#report = report;
    this.instanceId = admission.instanceId;
    /** Names it in its outcome; `null` where the service was not asked. */
    this.id = admission.attemptId;
    /** Under which it was permitted: if the breaker trips or is reset, its outcome is late. */
    this.epoch = admission.epoch;
    this.state = admission.state;
    /** Failures inside the window when it was permitted. */
    this.failures = admission.failures;
    /** How long to wait before connecting, in ms. */
    this.backoffMs = admission.backoffMs;
    /** Permitted without the service, or by a service without Redis. */
    this.degraded = admission.degraded;
  }

  /** Whether it is `connecting`, `connected` or `ended`. */
  get stage() {
    return this.#stage;
  }

  /**
   * Wait out the backoff; false if `signal` was aborted meanwhile.
   * @param {{ signal?: AbortSignal }} [options]
   */
  wait({ signal } = {}) {
    return sleep(this.backoffMs, { signal });
  }

  /**
   * It is connected. The service credits that once it has lasted (`stable_after_ms`).
   * @returns {Promise<Verdict>}
   */
  connected() {
    if (this.#stage === "connecting") {
      this.#stage = "connected";
      this.#told = this.#report({ outcome: "success" }, true);
    }
    return /** @type {Promise<Verdict>} */ (this.#told);
  }

  /**
   * It failed, or the connection was lost.
   * @param {Failure | Error} [failure] how, in the service's words or as a protocol's code; or the
   *   error that was thrown
   * @returns {Promise<Verdict>}
   */
  failed(failure = {}) {
    const told = isFailure(failure) ? failure : failureOf(failure);
    return this.#end({ ...told, outcome: "failure" });
  }

  /**
   * It was ended on purpose, or nothing came of the attempt: no failure.
   * @returns {Promise<Verdict>}
   */
  disconnected() {
    return this.#end({ outcome: "disconnected" });
  }

  /** @param {Outcome} outcome */
  #end(outcome) {
    if (this.#stage !== "ended") {
      // The end of a live connection is not the attempt's outcome: that was a success.
      const ofAttempt = this.#stage === "connecting";
      this.#stage = "ended";
      this.#told = this.#report(outcome, ofAttempt);
    }
    return /** @type {Promise<Verdict>} */ (this.#told);
  }
}

/**
 * @param {Failure | Error} failure
 * @returns {failure is Failure}
 */
function isFailure(failure) {
  return typeof failure === "object" && failure !== null && !(failure instanceof Error);
}
