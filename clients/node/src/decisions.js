/** Who decides: memory, the service, or this client alone. */

import { SekringUnavailable } from "./errors.js";
import { pathOf } from "./ids.js";
import { REFUSING, admissionOf } from "./model.js";
import { reportOf } from "./outcomes.js";

/** @import { Absence } from "./absence.js" */
/** @import { Degraded } from "./degraded.js" */
/** @import { Knowledge } from "./knowledge.js" */
/** @import { Admission, Outcome, Verdict } from "./model.js" */
/** @import { Settings } from "./options.js" */
/** @import { Outbox } from "./outbox.js" */
/** @import { Policies } from "./policies.js" */
/** @import { Tracing } from "./tracing.js" */
/** @import { Transport } from "./transport.js" */
/** @import { View } from "./view.js" */

/**
 * @typedef {object} Parts
 * @property {Settings} settings
 * @property {Tracing} tracing
 * @property {Transport} transport
 * @property {Knowledge} knowledge
 * @property {Policies} policies
 * @property {View} view
 * @property {Outbox} outbox
 * @property {Degraded} degraded
 * @property {Absence} absence
 */

/** Permits and reports, whoever answers them. */
export class Decisions {
  #parts;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /**
   * @param {string} name
   * @param {boolean} strong
   * @returns {Promise<{ admission: Admission, alone: boolean }>} `alone`: the service knows nothing
   *   of it
   */
  async permit(name, strong) {
    const { absence, knowledge, outbox, policies, settings, transport } = this.#parts;
    // Its own reports first: a permit follows on them.
    if (!absence.isNow) await outbox.tell(name);
    if (absence.isNow) return this.#permitAlone(name);
    const word = strong ? undefined : this.#current(name);
    if (word && REFUSING.has(word.state))
      return { admission: knowledge.refusal(name, word), alone: false };
    const asked = knowledge.ask();
    const body = { gateway: settings.gateway, build: settings.build, strong };
    try {
      const asking = transport.send("POST", pathOf(name, "attempts"), { body });
      const [answer] = await Promise.all([asking, policies.use(name)]);
      const admission = admissionOf(answer);
      knowledge.learnAdmission(name, asked, admission);
      return { admission, alone: false };
    } catch (error) {
      this.#goOnAlone(error);
      return this.#permitAlone(name);
    }
  }

  /**
   * Whether the instance's breaker is not open.
   * @param {string} name
   * @returns {Promise<boolean>}
   */
  async permitted(name) {
    const { absence, degraded, knowledge, policies, transport } = this.#parts;
    if (absence.isNow) return degraded.permitted(name);
    const word = this.#current(name);
    if (word) return !REFUSING.has(word.state);
    const asked = knowledge.ask();
    try {
      const reading = transport.send("GET", pathOf(name));
      const [snapshot] = await Promise.all([reading, policies.use(name)]);
      knowledge.learnSnapshot(asked, snapshot);
      return !REFUSING.has(snapshot.state);
    } catch (error) {
      this.#goOnAlone(error);
      return degraded.permitted(name);
    }
  }

  /**
   * Have the service learn an outcome; its verdict, or this client's own.
   * @param {string} name
   * @param {Outcome} outcome
   * @param {string | undefined} attemptId the attempt's, also where the service knows nothing of it
   * @returns {Promise<Verdict>}
   */
  report(name, outcome, attemptId) {
    const { absence, degraded, knowledge, outbox, settings, tracing } = this.#parts;
    knowledge.touch(name);
    const { gateway, build } = settings;
    const traceparent = tracing.traceparent();
    return new Promise((settle, fail) => {
      const report = reportOf(name, outcome, { gateway, build, traceparent });
      let isDecided = false;
      const decide = () => {
        if (isDecided) return;
        isDecided = true;
        settle(degraded.report(name, report.body.id, { ...outcome, attemptId }));
      };
      if (absence.isNow) decide();
      outbox.add({ ...report, settle, fail, decide });
    });
  }

  /** @param {string} name */
  #current(name) {
    const { knowledge, view } = this.#parts;
    return view.isCurrent ? knowledge.current(name) : undefined;
  }

  /** @param {string} name */
  #permitAlone(name) {
    return { admission: this.#parts.degraded.permit(name), alone: true };
  }

  /** Only where the service is away; any other error is the caller's. @param {unknown} error */
  #goOnAlone(error) {
    if (!(error instanceof SekringUnavailable)) throw error;
    this.#parts.absence.begin(error);
  }
}
