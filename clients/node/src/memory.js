/**
 * What an instance's breaker remembers, and what time alone does to it (the service's
 * `local/memory.py`). Time is passed in, in ms.
 */

/** @import { Policy, State } from "./model.js" */

/** What happens next, and when. @typedef {{ at: number, happen: (at: number) => void }} Due */

/** An instance as it is remembered; `Breaker` adds what is asked of it and told to it. */
export class Memory {
  /** @type {Readonly<Policy>} */
  policy;
  touched = 0;
  /** @type {State} */
  state = "closed";
  epoch = 0;
  /** When the state ends by itself; 0: never. */
  until = 0;
  cause = "";
  reason = "";
  closed = 0;
  level = 0;
  terminal = "";
  banUntil = 0;
  /** Failures that count, by the report's id. @type {Map<string, { at: number, kind: string }>} */
  window = new Map();
  /** When each gateway reported a failure last. @type {Map<string, number>} */
  reporters = new Map();
  /** Half-open: which attempt probes until when. @type {Map<string, number>} */
  probing = new Map();
  /** Half-open: whose success is credited when. @type {Map<string, number>} */
  proving = new Map();
  attempts = 0;
  /** @type {"" | "connecting" | "connected"} */
  connection = "";
  connectionSince = 0;
  attemptUntil = 0;
  proven = false;
  lastFailureAt = 0;
  lastFailureKind = "";

  /** @param {Readonly<Policy>} policy */
  constructor(policy) {
    this.policy = policy;
  }

  /**
   * Let everything happen that is due by `clock`; the instance's own time.
   * @param {number} clock
   */
  advance(clock) {
    const now = Math.max(clock, this.touched);
    for (let due = this.#next(now); due && due.at <= now; due = this.#next(now)) {
      const at = Math.max(due.at, this.touched);
      this.#expire(at);
      due.happen(at);
    }
    this.#expire(now);
    return now;
  }

  /** @returns {Due | undefined} the first of what time will do, if anything */
  #next(/** @type {number} */ now) {
    /** @type {Due[]} */
    const dues = [];
    const { policy } = this;
    if (this.connection === "connected" && !this.proven)
      dues.push({ at: this.connectionSince + policy.stable_after_ms, happen: this.#prove });
    if (this.connection === "connecting")
      dues.push({ at: this.attemptUntil, happen: () => this.endConnection() });
    if (this.until) dues.push({ at: this.until, happen: this.#endState });
    if (this.state === "half_open") {
      const credited = [...this.proving.values()].sort((a, b) => a - b);
      const last = policy.probes === 0 ? now : credited[policy.probes - 1];
      if (last !== undefined) dues.push({ at: last, happen: () => this.close(last) });
    }
    return dues.sort((a, b) => a.at - b.at)[0];
  }

  #prove = (/** @type {number} */ _at) => {
    this.proven = true;
    this.attempts = 0;
    if (this.policy.success_clears && this.state === "closed") this.clearWindow();
  };

  #endState = (/** @type {number} */ at) => {
    if (this.state !== "open" && this.terminal) this.open(this.terminal, 0, at);
    else if (this.state !== "open" && this.banUntil > this.until)
      this.open("temporary_ban", this.banUntil, at);
    else if (this.state === "disabled") this.close(at);
    else this.#recover(at);
  };

  #recover(/** @type {number} */ at) {
    this.clearWindow();
    this.attempts = 0;
    this.#bumpEpoch(at);
    this.touched = Math.max(this.touched, at);
    if (this.policy.probes === 0) this.close(at);
    else {
      this.state = "half_open";
      this.until = 0;
    }
  }

  /**
   * @param {string} cause
   * @param {number} until 0: until a person acts
   * @param {number} at
   */
  open(cause, until, at) {
    this.#clearSlots();
    this.#bumpEpoch(at);
    this.state = "open";
    this.until = until;
    this.cause = cause;
    this.reason = "";
  }

  /** @param {number} at */
  close(at) {
    this.#clearSlots();
    this.state = "closed";
    this.until = 0;
    this.cause = this.reason = "";
    this.closed = at;
  }

  clearWindow() {
    this.window.clear();
    this.reporters.clear();
  }

  /**
   * @param {"" | "connecting" | "connected"} connection
   * @param {number} since
   */
  connect(connection, since) {
    this.connection = connection;
    this.connectionSince = since;
    this.proven = false;
  }

  endConnection() {
    this.connect("", 0);
  }

  /** Successes that are yet to be credited. @param {number} now */
  uncredited(now) {
    return new Map([...this.proving].filter(([, at]) => at > now));
  }

  /** The deadlines of all slots that are taken. @param {number} now */
  inFlight(now) {
    return [...this.probing.values(), ...this.uncredited(now).values()].filter((at) => at > now);
  }

  #clearSlots() {
    this.probing.clear();
    this.proving.clear();
  }

  #bumpEpoch(/** @type {number} */ at) {
    this.epoch = Math.max(this.epoch + 1, at);
  }

  #expire(/** @type {number} */ at) {
    const start = at - this.policy.window_ms;
    for (const [id, failure] of this.window) if (failure.at <= start) this.window.delete(id);
    for (const [id, until] of this.probing) if (until <= at) this.probing.delete(id);
  }
}

/**
 * The name with the earliest time; of several the first in the alphabet.
 * @param {Map<string, number>} times
 * @returns {string | undefined}
 */
export function first(times) {
  /** @type {[string, number] | undefined} */
  let best;
  for (const [name, at] of times)
    if (!best || at < best[1] || (at === best[1] && name < best[0])) best = [name, at];
  return best?.[0];
}
