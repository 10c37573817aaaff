/**
 * Decisions while the service is away: by the same policy, from what was last known of each
 * instance, and a count of this client's own.
 */

import { randomBytes } from "node:crypto";

import { Breaker } from "./breaker.js";
import { Lru } from "./lru.js";
import { REFUSING } from "./model.js";
import { kindOf } from "./taxonomy.js";

/** @import { Knowledge } from "./knowledge.js" */
/** @import { Outcome } from "./model.js" */

/** Instances that are decided about at most; others begin with what was last known again. */
const HELD_MAX = 10_000;

/** A ban whose length WhatsApp did not name is taken to last a day. */
const UNKNOWN_BAN_MS = 86_400_000;

/** The breakers of a client that is alone. */
export class Degraded {
  /** @type {Lru<string, Breaker>} */
  #held = new Lru(HELD_MAX);
  #knowledge;
  #clock;
  #gateway;

  /**
   * @param {Knowledge} knowledge what it begins with
   * @param {() => number} clock milliseconds that never go back
   * @param {string | undefined} gateway the name under which this client reports
   */
  constructor(knowledge, clock, gateway) {
    this.#knowledge = knowledge;
    this.#clock = clock;
    this.#gateway = gateway ?? "";
  }

  /** @param {string} name */
  permit(name) {
    const token = randomBytes(6).toString("base64url");
    return this.#hold(name).permit(name, token, this.#now(), Math.random());
  }

  /** Whether the instance's breaker is not open. @param {string} name */
  permitted(name) {
    const breaker = this.#hold(name);
    breaker.advance(this.#now());
    return !REFUSING.has(breaker.state);
  }

  /**
   * @param {string} name
   * @param {string} id
   * @param {Outcome} outcome
   */
  report(name, id, outcome) {
    const kind = outcome.outcome === "failure" ? kindOf(outcome) : undefined;
    const told = {
      id,
      outcome: outcome.outcome,
      kind,
      attemptId: outcome.attemptId,
      epoch: outcome.epoch ?? epochIn(outcome.attemptId),
      banMs: outcome.banExpiresInMs || UNKNOWN_BAN_MS,
      gateway: this.#gateway,
    };
    return this.#hold(name).report(name, told, this.#now(), Math.random());
  }

  /** Let all instances go: the service decides again, and knows what was decided here. */
  letGo() {
    this.#held.clear();
  }

  #now() {
    return Math.floor(this.#clock());
  }

  /** @param {string} name */
  #hold(name) {
    let breaker = this.#held.get(name);
    if (!breaker) {
      breaker = this.#takenUp(name);
      this.#held.set(name, breaker);
    }
    return breaker;
  }

  /** The instance as it was last known. @param {string} name */
  #takenUp(name) {
    const breaker = new Breaker(this.#knowledge.policy(name));
    const word = this.#knowledge.last(name);
    if (!word) return breaker;
    breaker.state = word.state;
    breaker.epoch = word.epoch;
    breaker.cause = word.cause;
    breaker.reason = word.reason;
    breaker.until = word.untilMs === null ? 0 : Math.ceil(word.untilMs);
    breaker.attempts = word.attempts;
    for (let place = 0; place < word.failures; place++)
      breaker.window.set(`~${place}`, { at: Math.floor(word.atMs), kind: "disconnected" });
    return breaker;
  }
}

/** An attempt's id begins with its epoch, in hex. */
const ATTEMPT_EPOCH = /^([0-9a-f]{1,12})-[A-Za-z0-9_-]{8}$/;

/** @param {string | undefined} attemptId */
function epochIn(attemptId) {
  const match = attemptId === undefined ? null : ATTEMPT_EPOCH.exec(attemptId);
  return match?.[1] === undefined ? undefined : Number.parseInt(match[1], 16);
}
