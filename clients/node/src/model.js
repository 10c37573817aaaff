/**
 * What the service says, in JavaScript's spelling: the fields of its answers, named as it names
 * them but for the case. Times are milliseconds.
 */

/** @typedef {"closed" | "open" | "half_open" | "forced_open" | "disabled"} State */

/** @typedef {"failure" | "success" | "disconnected"} OutcomeName */

/**
 * Why a report was or was not counted.
 * @typedef {"counted" | "duplicate" | "late" | "stale" | "open" | "permanent" | "ban" | "build"
 *   | "conflict" | "ignored" | "success" | "disconnected"} Why
 */

/**
 * How a connection failed, where the caller knows. With neither `kind` nor `protocol` and `code`
 * it is `unknown`.
 * @typedef {object} Failure
 * @property {string} [kind] one of the service's kinds: `dns`, `refused`, `timeout`, `tls`, …
 * @property {"baileys" | "whatsmeow"} [protocol] whose `code` it is: the service classifies it
 * @property {number} [code] the protocol's own disconnect code
 * @property {string} [detail] what the library said; 300 characters are kept
 * @property {number} [banExpiresInMs] how long a temporary ban lasts; 0 is unknown
 */

/**
 * How an attempt, or a live connection, ended.
 * @typedef {Failure & {
 *   outcome: OutcomeName,
 *   id?: string,
 *   attemptId?: string,
 *   epoch?: number,
 *   ageMs?: number,
 * }} Outcome
 */

/**
 * The answer to a permit.
 * @typedef {object} Admission
 * @property {string} instanceId
 * @property {boolean} permitted
 * @property {string | null} attemptId names the attempt in its outcome
 * @property {number} epoch under which it was permitted: a later trip or reset makes it late
 * @property {State} state
 * @property {number} failures inside the window now
 * @property {number | null} retryAfterMs refused: when to ask again; `null`: a person is needed
 * @property {number} backoffMs permitted: how long to wait before connecting
 * @property {string | null} cause why it was refused
 * @property {string | null} reason what the operator said who opened the breaker
 * @property {boolean} degraded decided without the service, or by a service without Redis
 */

/**
 * The answer to a report.
 * @typedef {object} Verdict
 * @property {string} instanceId
 * @property {boolean} counted
 * @property {Why} why
 * @property {State} state
 * @property {number} failures inside the window now
 * @property {number} threshold as many open the breaker
 * @property {number} retryAttempts
 * @property {boolean} tripped whether this very report opened the breaker
 * @property {number | null} retryAfterMs when to attempt again; `null`: a person is needed
 * @property {number} epoch
 * @property {boolean} degraded
 */

/**
 * A change of an instance's breaker, as `/v1/events` tells it.
 * @typedef {object} Transition
 * @property {string} id
 * @property {string} instance_id `*`: of the whole fleet
 * @property {number} at_ms
 * @property {string} action trip, recover, reset, policy, …
 * @property {State | ""} before
 * @property {State | ""} after
 * @property {number} epoch
 * @property {string} cause
 * @property {number | null} [until_ms] when the state ends by itself
 * @property {string} reason
 * @property {string} actor
 */

/**
 * The part of a policy that decisions without the service take.
 * @typedef {object} Policy
 * @property {number} failure_threshold
 * @property {number} window_ms
 * @property {number} cooldown_ms
 * @property {number} cooldown_factor
 * @property {number} cooldown_max_ms
 * @property {number} probes
 * @property {number} probe_ttl_ms
 * @property {{base_ms: number, factor: number, cap_ms: number, jitter: number}} backoff
 * @property {number} stable_after_ms
 * @property {boolean} success_clears
 * @property {Record<string, number>} weights
 * @property {number} min_reporters
 */

/** States in which every attempt is refused. @type {ReadonlySet<string>} */
export const REFUSING = new Set(["open", "forced_open"]);

/** The guide's policy: in force until the service has named its own. @type {Readonly<Policy>} */
export const DEFAULT_POLICY = Object.freeze({
  failure_threshold: 15,
  window_ms: 300_000,
  cooldown_ms: 600_000,
  cooldown_factor: 1,
  cooldown_max_ms: 86_400_000,
  probes: 0,
  probe_ttl_ms: 120_000,
  backoff: Object.freeze({ base_ms: 1_000, factor: 2, cap_ms: 20_000, jitter: 0.2 }),
  stable_after_ms: 60_000,
  success_clears: false,
  weights: Object.freeze({}),
  min_reporters: 1,
});

/**
 * An admission as the service sends it.
 * @param {any} answer
 * @returns {Admission}
 */
export function admissionOf(answer) {
  return {
    instanceId: answer.instance_id,
    permitted: answer.permitted,
    attemptId: answer.attempt_id ?? null,
    epoch: answer.epoch,
    state: answer.state,
    failures: answer.failures,
    retryAfterMs: answer.retry_after_ms ?? null,
    backoffMs: answer.backoff_ms,
    cause: answer.cause ?? null,
    reason: answer.reason ?? null,
    degraded: answer.degraded ?? false,
  };
}

/**
 * A verdict as the service sends it.
 * @param {any} answer
 * @returns {Verdict}
 */
export function verdictOf(answer) {
  return {
    instanceId: answer.instance_id,
    counted: answer.counted,
    why: answer.why,
    state: answer.state,
    failures: answer.failures,
    threshold: answer.threshold,
    retryAttempts: answer.retry_attempts,
    tripped: answer.tripped,
    retryAfterMs: answer.retry_after_ms ?? null,
    epoch: answer.epoch,
    degraded: answer.degraded ?? false,
  };
}
