/** The client: everything is wired here. */

import { EventEmitter } from "node:events";

import { Absence } from "./absence.js";
import { Attempt } from "./attempt.js";
import { Decisions } from "./decisions.js";
import { Degraded } from "./degraded.js";
import { SekringClosed, SekringRefused } from "./errors.js";
import { instanceId } from "./ids.js";
import { Knowledge } from "./knowledge.js";
import { settingsOf } from "./options.js";
import { Outbox } from "./outbox.js";
import { checkedOutcome } from "./outcomes.js";
import { Policies } from "./policies.js";
import { Tracing } from "./tracing.js";
import { Transport } from "./transport.js";
import { View } from "./view.js";
import { Voice } from "./voice.js";
import { within } from "./waiting.js";

/** @import { Admission, Outcome, Verdict } from "./model.js" */
/** @import { SekringOptions } from "./options.js" */
/** @import { Events } from "./voice.js" */

/** How often the success of a connection that lasts is repeated: the service forgets after a day. */
const ALIVE_EVERY_MS = 12 * 3_600_000;

/**
 * One Sekring service: `const sekring = new Sekring({ url, token })`.
 * @extends {EventEmitter<Events>}
 */
export class Sekring extends EventEmitter {
  #transport;
  #knowledge;
  #view;
  #outbox;
  #absence;
  #decisions;
  #repeating;
  /** @type {Promise<{ unsent: number }> | undefined} */
  #closing;
  /** Connections that last, by their attempts. @type {Map<Attempt, string>} */
  #connected = new Map();

  /** @param {SekringOptions} options */
  constructor(options = {}) {
    super();
    const settings = settingsOf(options);
    const { background } = settings;
    const voice = new Voice(this, settings.logger);
    const clock = () => performance.timeOrigin + performance.now();
    const tracing = new Tracing();
    const transport = new Transport(settings, tracing);
    const knowledge = new Knowledge(clock);
    const policies = new Policies(transport, knowledge, background);
    const degraded = new Degraded(knowledge, clock, settings.gateway);
    /** @type {Absence} */
    const absence = new Absence({
      background,
      ask: () => tracing.outside(() => policies.readFleet()),
      catchUp: () => outbox.catchUp(),
      onAway: (error) => {
        outbox.decide();
        voice.sayAway(error);
      },
      onBack: () => {
        degraded.letGo();
        voice.sayBack();
        outbox.flush();
      },
    });
    /** @type {Outbox} */
    const outbox = new Outbox(transport, knowledge, tracing, {
      most: settings.reportsMax,
      afterMs: settings.flushAfterMs,
      isAway: () => absence.isNow,
      onAway: (error) => absence.begin(error),
      onDropped: ({ instanceId: name }, why) => voice.sayDropped(name, why, outbox.dropped),
    });
    const view = new View(transport, knowledge, {
      stalenessMs: settings.stalenessMs,
      background,
      onTransition: (transition) => {
        policies.take(transition);
        voice.tell("transition", transition);
      },
      onLive: (resumed) => {
        if (!resumed) policies.refresh();
        voice.tell("live");
      },
    });
    const memory = { knowledge, policies, view, degraded };
    this.#decisions = new Decisions({ ...memory, settings, tracing, transport, outbox, absence });
    this.#transport = transport;
    this.#knowledge = knowledge;
    this.#view = view;
    this.#outbox = outbox;
    this.#absence = absence;
    this.#repeating = setInterval(() => this.#sayStillConnected(), ALIVE_EVERY_MS).unref();
    tracing.outside(() => view.run());
  }

  // ----------------------------------------------------------------------------- its state

  /** Whether the service is away, so that this client decides by itself. */
  get degraded() {
    return this.#absence.isNow;
  }

  /** Whether refusals and `permitted()` are answered from memory now. */
  get current() {
    return !this.#absence.isNow && this.#view.isCurrent;
  }

  /** Reports that wait for the service. */
  get waiting() {
    return this.#outbox.size;
  }

  /** Reports that were given up: too many waited, the service refused them, or it was closed. */
  get dropped() {
    return this.#outbox.dropped;
  }

  // ------------------------------------------------------------------ attempts and outcomes

  /**
   * Ask for an attempt to connect.
   *
   * A refusal comes from memory where that is current. A permit is the service's own word, so that
   * the fleet's pace and probes hold; or, while it is away, what the policy in force says.
   * @param {string} id
   * @param {{ strong?: boolean }} [options] `strong`: ask Redis itself, past every memory
   * @returns {Promise<Attempt>}
   * @throws {SekringRefused} it may not connect now
   */
  async permit(id, { strong = false } = {}) {
    const name = instanceId(id);
    this.#checkOpen();
    const { admission, alone } = await this.#decisions.permit(name, strong);
    if (!admission.permitted) throw new SekringRefused(admission);
    return this.#attempt(admission, alone);
  }

  /**
   * Whether the instance's breaker is not open: from memory where that is current, else the
   * service's word. Asks for no attempt, and changes nothing.
   * @param {string} id
   * @returns {Promise<boolean>}
   */
  async permitted(id) {
    const name = instanceId(id);
    this.#checkOpen();
    return this.#decisions.permitted(name);
  }

  /**
   * Say how an attempt, or a live connection, ended, or that one lasts. It is sent with others, and
   * again until the service has it.
   *
   * The promise gives the service's verdict, or this client's own while the service is away. It may
   * be left alone.
   * @param {string} id
   * @param {Outcome} outcome
   * @returns {Promise<Verdict>}
   */
  report(id, outcome) {
    return this.#report(id, outcome, outcome?.attemptId);
  }

  /**
   * Connect under the breaker: ask, wait out the backoff, run `connect`, and report how it ended.
   *
   * If `connect` throws, that is a failure, and thrown on. If it returns, the attempt is connected;
   * if it had called `attempt.connected()` itself, the connection has ended on purpose by then.
   * Where the connection outlives `connect`, tell the attempt when it ends.
   * @template T
   * @param {string} id
   * @param {(attempt: Attempt) => T | Promise<T>} connect
   * @param {{ signal?: AbortSignal, wait?: boolean }} [options] `wait: false`: without the backoff
   * @returns {Promise<T>}
   * @throws {SekringRefused} it may not connect now
   */
  async guard(id, connect, { signal, wait = true } = {}) {
    signal?.throwIfAborted();
    const attempt = await this.permit(id);
    try {
      if (wait) await attempt.wait({ signal });
      signal?.throwIfAborted();
      const result = await connect(attempt);
      if (attempt.stage === "connected") attempt.disconnected();
      else attempt.connected();
      return result;
    } catch (error) {
      // What its caller has called off is no failure. The service knows before the caller does.
      const failed = /** @type {Error} */ (error);
      const told = signal?.aborted ? attempt.disconnected() : attempt.failed(failed);
      await told.catch(() => {});
      throw error;
    }
  }

  /**
   * A connection, or an attempt, that was begun without asking: to report on it all the same.
   * @param {string} id
   * @returns {Attempt}
   */
  adopt(id) {
    const name = instanceId(id);
    this.#checkOpen();
    return this.#attempt(this.#knowledge.unasked(name, this.#absence.isNow), false);
  }

  /**
   * Send what waits, for so long at most, and end. Everything asked from then on is refused.
   * @param {{ timeoutMs?: number }} [options]
   * @returns {Promise<{ unsent: number }>} reports that the service did not take in time
   */
  close({ timeoutMs = 5_000 } = {}) {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose]() {
    await this.close();
  }

  /** @param {number} timeoutMs */
  async #close(timeoutMs) {
    clearInterval(this.#repeating);
    this.#view.close();
    this.#absence.close();
    const flushed = this.#outbox.flush();
    await within(flushed, timeoutMs);
    this.#transport.close();
    // What was on its way comes back to what waits.
    await flushed;
    return { unsent: this.#outbox.close() };
  }

  #checkOpen() {
    if (this.#closing) throw new SekringClosed();
  }

  /**
   * @param {Admission} admission
   * @param {boolean} alone the service knows of no attempt of that id
   */
  #attempt(admission, alone) {
    const name = admission.instanceId;
    /** @type {Attempt} */
    const attempt = new Attempt(admission, (outcome, ofAttempt) => {
      if (outcome.outcome === "success") this.#connected.set(attempt, name);
      else this.#connected.delete(attempt);
      const own = ofAttempt ? (admission.attemptId ?? undefined) : undefined;
      return this.#report(name, { ...outcome, attemptId: alone ? undefined : own }, own);
    });
    return attempt;
  }

  /**
   * @param {string} id
   * @param {Outcome} outcome
   * @param {string | undefined} attemptId
   */
  #report(id, outcome, attemptId) {
    const reported = (async () => {
      const name = instanceId(id);
      this.#checkOpen();
      return this.#decisions.report(name, checkedOutcome(outcome), attemptId);
    })();
    // Who leaves the promise alone is not to meet an unhandled rejection.
    reported.catch(() => {});
    return reported;
  }

  #sayStillConnected() {
    // Without the attempt: its epoch may be over, and that is no fault of a live connection.
    for (const name of this.#connected.values()) this.report(name, { outcome: "success" });
  }
}
