/** The client: everything is wired here. */

import { EventEmitter } from "node:events";

import { Attempt } from "./attempt.js";
import { Degraded } from "./degraded.js";
import { SekringClosed, SekringRefused, SekringUnavailable } from "./errors.js";
import { instanceId, optionalName, pathOf, wholeNumber } from "./ids.js";
import { Knowledge } from "./knowledge.js";
import { REFUSING, admissionOf } from "./model.js";
import { Outbox } from "./outbox.js";
import { checkedOutcome, reportOf } from "./outcomes.js";
import { Policies } from "./policies.js";
import { Transport, serviceUrl } from "./transport.js";
import { View } from "./view.js";
import { sleep, within } from "./waiting.js";

/** @import { Admission, Outcome, Transition, Verdict } from "./model.js" */
/** @import { Report } from "./outbox.js" */

/** How a service that is away is tried again, in ms: at first, and at most. */
const TRY_FIRST_MS = 250;
const TRY_MOST_MS = 2_000;

/** How often the success of a connection that lasts is repeated: the service forgets after a day. */
const ALIVE_EVERY_MS = 12 * 3_600_000;

/** Dropped reports are said so often at most, in ms. */
const SAY_EVERY_MS = 1_000;

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
 *   silence; default 20,000: the service's heartbeat (15 s) and a little
 * @property {number} [flushAfterMs] how long a report waits for others, at most; default 20
 * @property {number} [reportsMax] reports that wait for the service, at most; default 10,000
 * @property {boolean} [keepProcessAlive] whether an open client keeps the process alive; default no
 * @property {Logger} [logger] is told when the service is away or back, and of what is lost; default
 *   `console`
 */

/**
 * @typedef {object} Events
 * @property {[transition: Transition]} transition a breaker has changed, as the feed tells it
 * @property {[]} live what is known from memory is current from now on
 * @property {[error: Error]} degraded the service is away: this client decides by itself
 * @property {[]} recovered the service decides again, and has learnt what was decided without it
 * @property {[drop: { instanceId: string, why: string, dropped: number }]} dropped a report was given
 *   up
 */

/**
 * One Sekring service: `const sekring = new Sekring({ url, token })`.
 * @extends {EventEmitter<Events>}
 */
export class Sekring extends EventEmitter {
  #transport;
  #knowledge;
  #policies;
  #view;
  #outbox;
  #degraded;
  #gateway;
  #build;
  #logger;
  #background;
  #isAway = false;
  #closed = new AbortController();
  /** @type {Promise<{ unsent: number }> | undefined} */
  #closing;
  /** Connections that last, by their attempts. @type {Map<Attempt, string>} */
  #connected = new Map();
  #saidMs = -Infinity;

  /** @param {SekringOptions} options */
  constructor(options = {}) {
    super();
    const { logger = console, keepProcessAlive = false } = options;
    const timeoutMs = wholeNumber(options.timeoutMs, "timeoutMs", 5_000);
    this.#gateway = optionalName(options.gateway, "gateway");
    this.#build = optionalName(options.build, "build");
    this.#logger = logger;
    this.#background = !keepProcessAlive;
    const clock = () => performance.timeOrigin + performance.now();
    const url = serviceUrl(options.url ?? process.env["SEKRING_URL"] ?? "");
    const token = optionalName(options.token || process.env["SEKRING_TOKEN"] || undefined, "token");
    this.#transport = new Transport(url, token, { timeoutMs, agent: "sekring-node" });
    this.#knowledge = new Knowledge(clock);
    this.#policies = new Policies(this.#transport, this.#knowledge, this.#background);
    this.#degraded = new Degraded(this.#knowledge, clock, this.#gateway);
    this.#outbox = new Outbox(this.#transport, this.#knowledge, {
      most: wholeNumber(options.reportsMax, "reportsMax", 10_000),
      afterMs: wholeNumber(options.flushAfterMs, "flushAfterMs", 20, { least: 0 }),
      isAway: () => this.#isAway,
      onAway: (error) => this.#goAway(error),
      onDropped: (report, why) => this.#sayDropped(report, why),
    });
    this.#view = new View(this.#transport, this.#knowledge, {
      stalenessMs: wholeNumber(options.stalenessMs, "stalenessMs", 20_000),
      background: this.#background,
      onTransition: (transition) => this.#takeTransition(transition),
      onLive: () => {
        this.#policies.refresh();
        this.#tell("live");
      },
    });
    const repeating = setInterval(() => this.#sayStillConnected(), ALIVE_EVERY_MS);
    repeating.unref();
    this.#closed.signal.addEventListener("abort", () => clearInterval(repeating));
    this.#view.run();
  }

  // ----------------------------------------------------------------------------- its state

  /** Whether the service is away, so that this client decides by itself. */
  get degraded() {
    return this.#isAway;
  }

  /** Whether refusals and `permitted()` are answered from memory now. */
  get current() {
    return !this.#isAway && this.#view.isCurrent;
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
    const alone = await this.#admission(name, strong);
    if (!alone.admission.permitted) throw new SekringRefused(alone.admission);
    return this.#attempt(alone.admission, alone.byItself);
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
    if (this.#isAway) return this.#degraded.permitted(name);
    const word = this.#view.isCurrent && this.#knowledge.current(name);
    if (word) return !REFUSING.has(word.state);
    const asked = this.#knowledge.ask();
    try {
      const reading = this.#transport.send("GET", pathOf(name));
      const [snapshot] = await Promise.all([reading, this.#policies.use(name)]);
      this.#knowledge.learnSnapshot(asked, snapshot);
      return !REFUSING.has(snapshot.state);
    } catch (error) {
      this.#leaveTo(error);
      return this.#degraded.permitted(name);
    }
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
    return handled(
      (async () => {
        const name = instanceId(id);
        this.#checkOpen();
        return this.#report(name, checkedOutcome(outcome), outcome.attemptId);
      })(),
    );
  }

  /**
   * Connect under the breaker: ask, wait out the backoff, run `connect`, and report how it ended.
   *
   * If `connect` throws, that is a failure, and thrown on. If it returns, the attempt is connected;
   * if it had called `attempt.connected()` itself, the connection has ended on purpose by then. Where
   * the connection outlives `connect`, tell the attempt when it ends.
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
      // What its caller has called off is no failure.
      if (signal?.aborted) attempt.disconnected();
      else attempt.failed(error);
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
    const word = this.#knowledge.last(name);
    return this.#attempt(
      {
        instanceId: name,
        permitted: true,
        attemptId: null,
        epoch: word?.epoch ?? 0,
        state: word?.state ?? "closed",
        failures: word?.failures ?? 0,
        retryAfterMs: 0,
        backoffMs: 0,
        cause: null,
        reason: null,
        degraded: this.#isAway,
      },
      false,
    );
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
    this.#view.close();
    this.#closed.abort();
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

  // -------------------------------------------------------------------------- how it decides

  /**
   * @param {string} name
   * @param {boolean} strong
   * @returns {Promise<{ admission: Admission, byItself: boolean }>}
   */
  async #admission(name, strong) {
    // Its own reports first: a permit follows on them.
    if (!this.#isAway && this.#outbox.has(name)) await this.#outbox.flush();
    if (this.#isAway) return this.#admitAlone(name);
    const word = !strong && this.#view.isCurrent && this.#knowledge.current(name);
    if (word && REFUSING.has(word.state))
      return { admission: this.#knowledge.refusal(name, word), byItself: false };
    const asked = this.#knowledge.ask();
    const body = { gateway: this.#gateway, build: this.#build, strong };
    try {
      const asking = this.#transport.send("POST", pathOf(name, "attempts"), { body });
      const [answer] = await Promise.all([asking, this.#policies.use(name)]);
      const admission = admissionOf(answer);
      this.#knowledge.learnAdmission(name, asked, admission);
      return { admission, byItself: false };
    } catch (error) {
      this.#leaveTo(error);
      return this.#admitAlone(name);
    }
  }

  /** @param {string} name */
  #admitAlone(name) {
    return { admission: this.#degraded.permit(name), byItself: true };
  }

  /**
   * @param {Admission} admission
   * @param {boolean} byItself the service knows of no attempt of that id
   */
  #attempt(admission, byItself) {
    const name = admission.instanceId;
    /** @type {Attempt} */
    const attempt = new Attempt(admission, (outcome, ofAttempt) => {
      if (outcome.outcome === "success") this.#connected.set(attempt, name);
      else this.#connected.delete(attempt);
      const own = ofAttempt ? (admission.attemptId ?? undefined) : undefined;
      const known = byItself ? undefined : own;
      const promise = (async () => {
        this.#checkOpen();
        return this.#report(name, { ...checkedOutcome(outcome), attemptId: known }, own);
      })();
      return handled(promise);
    });
    return attempt;
  }

  /**
   * @param {string} name
   * @param {Outcome} outcome
   * @param {string | undefined} attemptId the attempt's, for decisions without the service
   * @returns {Promise<Verdict>}
   */
  #report(name, outcome, attemptId) {
    this.#knowledge.touch(name);
    return new Promise((settle, fail) => {
      const report = reportOf(name, outcome, this.#gateway, this.#build);
      let decided = false;
      const decide = () => {
        if (decided) return;
        decided = true;
        settle(this.#degraded.report(name, String(report.body["id"]), { ...outcome, attemptId }));
      };
      if (this.#isAway) decide();
      this.#outbox.add({ ...report, settle, fail, decide });
    });
  }

  #sayStillConnected() {
    // Without the attempt: its epoch may be over, and that is no fault of a live connection.
    for (const name of this.#connected.values()) handled(this.report(name, { outcome: "success" }));
  }

  // --------------------------------------------------------------------- the service is away

  /** Go on alone if the service is away; any other error is the caller's. @param {unknown} error */
  #leaveTo(error) {
    if (!(error instanceof SekringUnavailable)) throw error;
    this.#checkOpen();
    this.#goAway(error);
  }

  /** @param {SekringUnavailable} error */
  #goAway(error) {
    if (this.#isAway || this.#closed.signal.aborted) return;
    this.#isAway = true;
    this.#logger.warn(`sekring: ${error.message} Deciding by the policy in force until it is back.`);
    this.#tell("degraded", error);
    this.#comeBack();
  }

  /** Try until the service is there and has learnt what was decided without it. */
  async #comeBack() {
    const { signal } = this.#closed;
    const background = this.#background;
    for (let pause = TRY_FIRST_MS; ; pause = Math.min(TRY_MOST_MS, pause * 2)) {
      if (!(await sleep(pause * (0.5 + Math.random() / 2), { signal, background }))) return;
      try {
        await this.#policies.readFleet();
      } catch (error) {
        // Any other answer than none is the service's: it is there.
        if (error instanceof SekringUnavailable) continue;
      }
      if (await this.#outbox.flush()) break;
    }
    this.#degraded.letGo();
    this.#isAway = false;
    this.#logger.info("sekring: the service is back and decides again.");
    this.#tell("recovered");
  }

  // ---------------------------------------------------------------------------- what it says

  /** @param {Transition} transition */
  #takeTransition(transition) {
    this.#policies.take(transition);
    this.#tell("transition", transition);
  }

  /**
   * @param {Report} report
   * @param {string} why
   */
  #sayDropped({ instanceId: name }, why) {
    const { dropped } = this.#outbox;
    if (performance.now() - this.#saidMs >= SAY_EVERY_MS) {
      this.#saidMs = performance.now();
      this.#logger.error(`sekring: a report on ${name} was dropped (${why}); ${dropped} in all.`);
    }
    this.#tell("dropped", { instanceId: name, why, dropped });
  }

  /**
   * Emit; a listener that throws is its author's, and must not stop the client.
   * @param {any[]} event
   */
  #tell(...event) {
    try {
      this.emit(.../** @type {[any]} */ (event));
    } catch (error) {
      this.#logger.error(`sekring: a listener of ${event[0]} threw: ${error}`);
    }
  }
}

/**
 * The promise, which may be left alone: its rejection is no unhandled one.
 * @template T
 * @param {Promise<T>} promise
 */
function handled(promise) {
  promise.catch(() => {});
  return promise;
}
