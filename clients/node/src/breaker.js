/**
 * One instance's breaker as the service's own `local/instance.py` has it: what decides while the
 * service is away. Time and chance are passed in. A test compares the two by random histories.
 */

import { Memory, first } from "./memory.js";
import { REFUSING } from "./model.js";
import { EFFECTS } from "./taxonomy.js";

/** @import { Admission, OutcomeName, Verdict, Why } from "./model.js" */

/**
 * What is told of an attempt, or of a live connection.
 * @typedef {object} Told
 * @property {string} id
 * @property {OutcomeName} outcome
 * @property {string} [kind] of a failure
 * @property {string} [attemptId]
 * @property {number} [epoch] under which it was permitted
 * @property {number} [banMs] how long a ban lasts
 * @property {string} [gateway]
 */

/** One instance's breaker. */
export class Breaker extends Memory {
  /**
   * May it connect now?
   * @param {string} instanceId
   * @param {string} token names the attempt
   * @param {number} clock in ms
   * @param {number} chance 0 to 1
   * @returns {Admission}
   */
  permit(instanceId, token, clock, chance) {
    const now = this.advance(clock);
    if (REFUSING.has(this.state)) return this.#refusal(instanceId, this.cause, this.#left(now));
    const attemptId = `${this.epoch.toString(16)}-${token}`;
    if (this.state === "half_open" && !this.probing.has(attemptId)) {
      const inFlight = this.inFlight(now);
      if (inFlight.length >= this.policy.probes)
        return this.#refusal(instanceId, "probing", Math.min(...inFlight) - now);
      this.probing.set(attemptId, now + this.policy.probe_ttl_ms);
    }
    const backoffMs = this.#backoff(chance);
    this.attempts += 1;
    if (now >= this.connectionSince) {
      this.connect("connecting", now);
      this.attemptUntil = now + this.policy.probe_ttl_ms;
    }
    this.touched = now;
    return {
      instanceId,
      permitted: true,
      attemptId,
      epoch: this.epoch,
      state: this.state,
      failures: this.window.size,
      retryAfterMs: 0,
      backoffMs,
      cause: null,
      reason: null,
      degraded: true,
    };
  }

  /**
   * Take how an attempt, or a live connection, ended.
   * @param {string} instanceId
   * @param {Told} told
   * @param {number} clock in ms
   * @param {number} chance 0 to 1
   * @returns {Verdict}
   */
  report(instanceId, told, clock, chance) {
    const now = this.advance(clock);
    const { epoch } = this;
    const why = this.#take(told, now, chance);
    const refusing = REFUSING.has(this.state);
    return {
      instanceId,
      counted: why === "counted",
      why,
      state: this.state,
      failures: this.window.size,
      threshold: this.policy.failure_threshold,
      retryAttempts: Math.max(0, this.attempts - 1),
      tripped: told.outcome === "failure" && this.state === "open" && this.epoch > epoch,
      retryAfterMs: refusing ? this.#left(now) : this.#backoff(chance),
      epoch: this.epoch,
      degraded: true,
    };
  }

  /**
   * @param {Told} told
   * @param {number} now
   * @param {number} chance
   * @returns {Why}
   */
  #take(told, now, chance) {
    if (this.window.has(told.id)) return "duplicate";
    if (told.epoch !== undefined && told.epoch < this.epoch) return "late";
    this.touched = now;
    if (told.outcome === "success") return this.#succeed(told, now);
    this.endConnection();
    if (told.outcome === "disconnected") {
      this.#release(told.attemptId, now);
      return "disconnected";
    }
    const kind = told.kind ?? "unknown";
    this.lastFailureAt = now;
    this.lastFailureKind = kind;
    switch (EFFECTS[kind]) {
      case "terminal":
        if (this.terminal !== "banned") this.terminal = kind;
        this.#hold(kind, 0, now);
        return "permanent";
      case "ban":
        return this.#ban(kind, told.banMs ?? 0, now, chance);
      case "conflict":
        if (this.state !== "open")
          this.#hold(kind, Math.floor(now + 30_000 + 60_000 * chance), now);
        return "conflict";
      case "build":
        this.#release(told.attemptId, now);
        return "build";
      case "ignore":
        this.#release(told.attemptId, now);
        return "ignored";
      default:
        return this.#count(told, kind, now, chance);
    }
  }

  /**
   * @param {Told} told
   * @param {number} now
   * @returns {Why}
   */
  #succeed(told, now) {
    if (this.terminal) {
      // It was paired anew.
      this.terminal = "";
      if (this.state === "open" && this.banUntil > now)
        this.open("temporary_ban", this.banUntil, now);
      else if (this.state === "open") this.close(now);
    }
    if (this.state === "half_open") {
      const attemptId = told.attemptId ?? first(this.probing) ?? told.id;
      this.probing.delete(attemptId);
      if (this.uncredited(now).size < this.policy.probes && !this.proving.has(attemptId))
        this.proving.set(attemptId, now + this.policy.stable_after_ms);
    }
    if (this.connection !== "connected" && now >= this.connectionSince)
      this.connect("connected", now);
    this.advance(now);
    return "success";
  }

  /**
   * @param {string} kind
   * @param {number} banMs
   * @param {number} now
   * @param {number} chance
   * @returns {Why}
   */
  #ban(kind, banMs, now, chance) {
    const until = Math.floor(now + banMs + Math.min(600_000, 0.05 * banMs) * chance);
    if (until > now) {
      this.banUntil = Math.max(this.banUntil, until);
      this.#hold(kind, until, now);
    }
    return "ban";
  }

  /**
   * @param {Told} told
   * @param {string} kind
   * @param {number} now
   * @param {number} chance
   * @returns {Why}
   */
  #count(told, kind, now, chance) {
    if (REFUSING.has(this.state)) return "open";
    if (this.policy.weights[kind] === 0) {
      this.#release(told.attemptId, now);
      return "ignored";
    }
    this.window.set(told.id, { at: now, kind });
    // They come in the order of time, so the first are the oldest.
    for (const id of this.window.keys()) {
      if (this.window.size <= this.policy.failure_threshold) break;
      this.window.delete(id);
    }
    const quorum = this.#quorum(told.gateway ?? "", now);
    if (this.state === "half_open") {
      this.open("probe_failed", now + this.#cooldown(chance, now), now);
    } else if (
      quorum &&
      this.state === "closed" &&
      this.#weight() >= this.policy.failure_threshold
    ) {
      this.open("failures", now + this.#cooldown(chance, now), now);
    }
    return "counted";
  }

  #weight() {
    let sum = 0;
    for (const { kind } of this.window.values()) sum += this.policy.weights[kind] ?? 1;
    return sum;
  }

  /**
   * @param {string} gateway
   * @param {number} now
   */
  #quorum(gateway, now) {
    if (this.policy.min_reporters === 1 || this.state === "half_open") return true;
    this.reporters.set(gateway, now);
    const start = now - this.policy.window_ms;
    for (const [name, last] of this.reporters) if (last <= start) this.reporters.delete(name);
    return this.reporters.size >= this.policy.min_reporters;
  }

  /**
   * Open for a reason that is not the window's; a longer hold is not shortened.
   * @param {string} kind
   * @param {number} until 0: until a person acts
   * @param {number} now
   */
  #hold(kind, until, now) {
    if (this.state === "forced_open" || this.state === "disabled") return;
    if (this.state === "open" && this.until === 0) return;
    const longest = this.state === "open" && until ? Math.max(until, this.until) : until;
    this.open(kind, longest, now);
  }

  /**
   * Give back a probe slot: the attempt's, else the oldest.
   * @param {string | undefined} attemptId
   * @param {number} now
   */
  #release(attemptId, now) {
    const uncredited = this.uncredited(now);
    const name = attemptId ?? first(this.probing) ?? first(uncredited) ?? "";
    this.probing.delete(name);
    if (uncredited.has(name)) this.proving.delete(name);
  }

  /** @param {number} chance */
  #backoff(chance) {
    const tries = Math.max(this.attempts, this.window.size);
    if (tries === 0) return 0;
    const { base_ms: base, factor, cap_ms: cap, jitter } = this.policy.backoff;
    const grown = base * factor ** Math.min(tries - 1, 64);
    const wait = this.lastFailureKind === "unknown" ? cap : Math.min(cap, grown);
    return Math.floor(wait * (1 - jitter * chance));
  }

  /**
   * How long to stay open: longer after each trip, shorter again while healthy.
   * @param {number} chance
   * @param {number} now
   */
  #cooldown(chance, now) {
    const { cooldown_ms: base, cooldown_factor: factor, cooldown_max_ms: most } = this.policy;
    if (factor === 1) return base;
    if (this.state === "closed" && this.closed)
      this.level = Math.max(0, this.level - Math.floor((now - this.closed) / base));
    let cooldown = Math.min(most, base * factor ** this.level);
    if (this.level > 0) cooldown *= 1 - 0.1 * chance;
    this.level = Math.min(this.level + 1, 64);
    return Math.floor(cooldown);
  }

  /** @param {number} now */
  #left(now) {
    return this.until ? this.until - now : null;
  }

  /**
   * @param {string} instanceId
   * @param {string} cause
   * @param {number | null} retryAfterMs
   * @returns {Admission}
   */
  #refusal(instanceId, cause, retryAfterMs) {
    return {
      instanceId,
      permitted: false,
      attemptId: null,
      epoch: this.epoch,
      state: this.state,
      failures: this.window.size,
      retryAfterMs,
      backoffMs: 0,
      cause,
      reason: this.reason || null,
      degraded: true,
    };
  }
}
