/**
 * What this client knows of its instances: the service's last word on each, and the policy in force.
 *
 * A word is current as long as nothing has changed since it was asked for. The stream of events says
 * what changes; `view.js` follows it. So the word on an instance is dropped with every event that
 * names it, and an answer that was asked for before such an event is never kept as current. What
 * was last known is remembered apart, for decisions without the service.
 */

import { Lru } from "./lru.js";
import { DEFAULT_POLICY, REFUSING } from "./model.js";

/** @import { Admission, Policy, State, Transition, Verdict } from "./model.js" */

/** Instances that are remembered, at most. */
const INSTANCES_MAX = 20_000;

/**
 * What was last known of an instance.
 * @typedef {object} Word
 * @property {State} state
 * @property {number} epoch
 * @property {number} failures
 * @property {number} attempts
 * @property {string} cause
 * @property {string} reason
 * @property {number | null} untilMs when the state ends by itself (the client's clock); `null`: never
 * @property {number} atMs when it was said (the client's clock)
 */

/**
 * When a question was asked, to tell whether something happened until its answer came.
 * @typedef {{ events: number, stream: number, atMs: number }} Asked
 */

/** Knowledge of the fleet, as far as this client has asked for it. */
export class Knowledge {
  /** @type {Lru<string, Word>} */
  #words = new Lru(INSTANCES_MAX);
  /** Words that are current. @type {Lru<string, Word>} */
  #current = new Lru(INSTANCES_MAX);
  /** Events so far. */
  #events = 0;
  /** Which of them named the instance last. @type {Map<string, number>} */
  #changed = new Map();
  /** How often events may have been missed: what was asked before that is not current. */
  #stream = 0;
  #clock;
  /** @type {Readonly<Policy>} */
  #fleetPolicy = DEFAULT_POLICY;
  /** Of instances whose own was read. @type {Lru<string, Readonly<Policy>>} */
  #policies = new Lru(INSTANCES_MAX);

  /** @param {() => number} clock milliseconds that never go back */
  constructor(clock) {
    this.#clock = clock;
  }

  // ------------------------------------------------------------------------------ the stream

  /** Nothing said so far is known to be current: events may be missing. */
  forgetCurrent() {
    this.#stream += 1;
    this.#current.clear();
    this.#changed.clear();
  }

  /** @param {Transition} transition */
  take(transition) {
    const name = transition.instance_id;
    this.touch(name);
    const word = this.#words.get(name);
    if (!transition.after || name === "*" || (word && transition.epoch < word.epoch)) return;
    if (word && word.state === transition.after && word.epoch === transition.epoch) return;
    this.#words.set(name, {
      state: transition.after,
      epoch: transition.epoch,
      cause: transition.cause,
      reason: transition.reason,
      // What it does not tell: every change of state begins to count anew.
      failures: 0,
      attempts: 0,
      untilMs: this.#untilOf(transition),
      atMs: this.#clock(),
    });
  }

  /** @param {Transition} transition */
  #untilOf({ instance_id: name, after, cause, at_ms: at, until_ms: until }) {
    if (until) return this.#clock() + until - at;
    const counted = cause === "failures" || cause === "probe_failed";
    return after === "open" && counted ? this.#clock() + this.policy(name).cooldown_ms : null;
  }

  // ------------------------------------------------------------------------------- its words

  /**
   * Note that the service is asked something.
   * @returns {Asked}
   */
  ask() {
    return { events: this.#events, stream: this.#stream, atMs: this.#clock() };
  }

  /**
   * Keep what the service said.
   * @param {string} name
   * @param {Asked} asked
   * @param {Partial<Word> & { state: State, epoch: number, failures: number }} said
   */
  learn(name, asked, said) {
    const known = this.#words.get(name);
    const word = {
      attempts: known?.attempts ?? 0,
      cause: "",
      reason: "",
      untilMs: null,
      ...said,
      atMs: asked.atMs,
    };
    this.#words.set(name, word);
    const changed = (this.#changed.get(name) ?? 0) > asked.events;
    if (changed || asked.stream !== this.#stream) this.#current.delete(name);
    else this.#current.set(name, word);
  }

  /**
   * @param {string} name
   * @param {Asked} asked
   * @param {Admission} admission
   */
  learnAdmission(name, asked, { state, epoch, failures, retryAfterMs, cause, reason }) {
    const untilMs = retryAfterMs === null ? null : this.#clock() + retryAfterMs;
    this.learn(name, asked, {
      state,
      epoch,
      failures,
      cause: cause ?? "",
      reason: reason ?? "",
      untilMs: REFUSING.has(state) ? untilMs : null,
    });
  }

  /**
   * @param {Asked} asked
   * @param {any} snapshot as the service sends it
   */
  learnSnapshot(asked, snapshot) {
    const { instance_id: name, state, epoch, failures, retry_attempts: retries } = snapshot;
    const left = snapshot.remaining_ms ?? null;
    this.learn(name, asked, {
      state,
      epoch,
      failures,
      attempts: retries + 1,
      cause: snapshot.cause ?? "",
      reason: snapshot.reason ?? "",
      untilMs: left === null ? null : this.#clock() + left,
    });
  }

  /**
   * @param {string} name
   * @param {Asked} asked
   * @param {Verdict} verdict
   */
  learnVerdict(name, asked, { state, epoch, failures, retryAfterMs, retryAttempts, tripped }) {
    const known = this.#words.get(name);
    const same = known?.state === state && known.epoch === epoch;
    const untilMs = retryAfterMs === null ? null : this.#clock() + retryAfterMs;
    this.learn(name, asked, {
      state,
      epoch,
      failures,
      attempts: retryAttempts + 1,
      cause: same ? known.cause : tripped ? "failures" : "",
      reason: same ? known.reason : "",
      untilMs: REFUSING.has(state) ? untilMs : null,
    });
    // It does not say why an instance is open: who wants to know asks.
    if (REFUSING.has(state) && !same) this.#current.delete(name);
  }

  /**
   * The service's word, if nothing has changed since; a time that it named has passed: none.
   * @param {string} name
   * @returns {Word | undefined}
   */
  current(name) {
    const word = this.#current.get(name);
    if (!word || (word.untilMs !== null && word.untilMs <= this.#clock())) return undefined;
    return word;
  }

  /**
   * What a word that refuses says to a permit.
   * @param {string} name
   * @param {Word} word
   * @returns {Admission}
   */
  refusal(name, word) {
    const left = word.untilMs === null ? null : Math.ceil(word.untilMs - this.#clock());
    return {
      instanceId: name,
      permitted: false,
      attemptId: null,
      epoch: word.epoch,
      state: word.state,
      failures: word.failures,
      retryAfterMs: left,
      backoffMs: 0,
      cause: word.cause || null,
      reason: word.reason || null,
      degraded: false,
    };
  }

  /**
   * What there is to say of an attempt that nobody asked for.
   * @param {string} name
   * @param {boolean} degraded
   * @returns {Admission}
   */
  unasked(name, degraded) {
    const { epoch = 0, state = "closed", failures = 0 } = this.#words.get(name) ?? {};
    return {
      instanceId: name,
      permitted: true,
      attemptId: null,
      epoch,
      state,
      failures,
      retryAfterMs: 0,
      backoffMs: 0,
      cause: null,
      reason: null,
      degraded,
    };
  }

  /**
   * What was last known, however long ago.
   * @param {string} name
   */
  last(name) {
    return this.#words.get(name);
  }

  /**
   * Take note that the instance is changing: by an event, or by this client.
   * @param {string} name
   */
  touch(name) {
    this.#events += 1;
    if (this.#changed.size >= INSTANCES_MAX) this.forgetCurrent();
    this.#changed.set(name, this.#events);
    this.#current.delete(name);
  }

  // -------------------------------------------------------------------------------- policies

  /** The policy in force for an instance, as far as it is known. @param {string} name */
  policy(name) {
    return this.#policies.get(name) ?? this.#fleetPolicy;
  }

  /** Instances whose own policy is known. */
  policyNames() {
    return this.#policies.keys();
  }

  /** @param {string} name */
  hasPolicy(name) {
    return this.#policies.get(name) !== undefined;
  }

  /** @param {Policy} policy */
  setFleetPolicy(policy) {
    this.#fleetPolicy = policy;
  }

  /**
   * @param {string} name
   * @param {Policy} policy
   */
  setPolicy(name, policy) {
    this.#policies.set(name, policy);
  }
}
