/**
 * An admission as the service sends it.
 * @param {any} answer
 * @returns {Admission}
 */
export function admissionOf(answer: any): Admission;
/**
 * A verdict as the service sends it.
 * @param {any} answer
 * @returns {Verdict}
 */
export function verdictOf(answer: any): Verdict;
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
export const REFUSING: ReadonlySet<string>;
/** The guide's policy: in force until the service has named its own. @type {Readonly<Policy>} */
export const DEFAULT_POLICY: Readonly<Policy>;
export type State = "closed" | "open" | "half_open" | "forced_open" | "disabled";
export type OutcomeName = "failure" | "success" | "disconnected";
/**
 * Why a report was or was not counted.
 */
export type Why = "counted" | "duplicate" | "late" | "stale" | "open" | "permanent" | "ban" | "build" | "conflict" | "ignored" | "success" | "disconnected";
/**
 * How a connection failed, where the caller knows. With neither `kind` nor `protocol` and `code`
 * it is `unknown`.
 */
export type Failure = {
    /**
     * one of the service's kinds: `dns`, `refused`, `timeout`, `tls`, …
     */
    kind?: string | undefined;
    /**
     * whose `code` it is: the service classifies it
     */
    protocol?: "baileys" | "whatsmeow" | undefined;
    /**
     * the protocol's own disconnect code
     */
    code?: number | undefined;
    /**
     * what the library said; 300 characters are kept
     */
    detail?: string | undefined;
    /**
     * how long a temporary ban lasts; 0 is unknown
     */
    banExpiresInMs?: number | undefined;
};
/**
 * How an attempt, or a live connection, ended.
 */
export type Outcome = Failure & {
    outcome: OutcomeName;
    id?: string;
    attemptId?: string;
    epoch?: number;
    ageMs?: number;
};
/**
 * The answer to a permit.
 */
export type Admission = {
    instanceId: string;
    permitted: boolean;
    /**
     * names the attempt in its outcome
     */
    attemptId: string | null;
    /**
     * under which it was permitted: a later trip or reset makes it late
     */
    epoch: number;
    state: State;
    /**
     * inside the window now
     */
    failures: number;
    /**
     * refused: when to ask again; `null`: a person is needed
     */
    retryAfterMs: number | null;
    /**
     * permitted: how long to wait before connecting
     */
    backoffMs: number;
    /**
     * why it was refused
     */
    cause: string | null;
    /**
     * what the operator said who opened the breaker
     */
    reason: string | null;
    /**
     * decided without the service, or by a service without Redis
     */
    degraded: boolean;
};
/**
 * The answer to a report.
 */
export type Verdict = {
    instanceId: string;
    counted: boolean;
    why: Why;
    state: State;
    /**
     * inside the window now
     */
    failures: number;
    /**
     * as many open the breaker
     */
    threshold: number;
    retryAttempts: number;
    /**
     * whether this very report opened the breaker
     */
    tripped: boolean;
    /**
     * when to attempt again; `null`: a person is needed
     */
    retryAfterMs: number | null;
    epoch: number;
    degraded: boolean;
};
/**
 * A change of an instance's breaker, as `/v1/events` tells it.
 */
export type Transition = {
    id: string;
    /**
     * `*`: of the whole fleet
     */
    instance_id: string;
    at_ms: number;
    /**
     * trip, recover, reset, policy, …
     */
    action: string;
    before: State | "";
    after: State | "";
    epoch: number;
    cause: string;
    /**
     * when the state ends by itself
     */
    until_ms?: number | null | undefined;
    reason: string;
    actor: string;
};
/**
 * The part of a policy that decisions without the service take.
 */
export type Policy = {
    failure_threshold: number;
    window_ms: number;
    cooldown_ms: number;
    cooldown_factor: number;
    cooldown_max_ms: number;
    probes: number;
    probe_ttl_ms: number;
    backoff: {
        base_ms: number;
        factor: number;
        cap_ms: number;
        jitter: number;
    };
    stable_after_ms: number;
    success_clears: boolean;
    weights: Record<string, number>;
    min_reporters: number;
};
