/**
 * Every error that this client raises on purpose:
 *
 *     SekringError
 *     ├── SekringInvalidInput       what the caller gave is not usable; `field` names it
 *     ├── SekringNotAuthenticated   no token, or one that the service does not know
 *     ├── SekringNotAllowed         the token's role may not do this
 *     ├── SekringRefused            the breaker lets the instance not connect now
 *     ├── SekringUnavailable        the service did not answer, or not in time
 *     └── SekringClosed             `close()` was called
 *
 * Permits and reports never raise `SekringUnavailable`: while the service is away, the client
 * decides by itself.
 */

/** @import { Admission } from "./model.js" */

/** Base of all errors below; `message` is a sentence for a person. */
export class SekringError extends Error {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** What the caller gave cannot be used. */
export class SekringInvalidInput extends SekringError {
  /**
   * @param {string} message what was wrong, what was expected, how to go on
   * @param {string | null} [field] path of the offending field; `null`: the request as a whole
   */
  constructor(message, field = null) {
    super(message);
    this.field = field;
  }
}

/** No token was sent, or one that the service does not know. */
export class SekringNotAuthenticated extends SekringError {}

/** The token is known, its role does not suffice. */
export class SekringNotAllowed extends SekringError {}

/** The breaker lets the instance not connect now. */
export class SekringRefused extends SekringError {
  /** @param {Admission} admission */
  constructor(admission) {
    super(wordsOf(admission));
    this.instanceId = admission.instanceId;
    this.state = admission.state;
    /** Why: `failures`, `probing`, `operator`, `fleet`, or the kind of a failure. */
    this.cause = admission.cause;
    /** What the operator said who opened it. */
    this.reason = admission.reason;
    /** When to ask again, in ms; `null`: only a person can help. */
    this.retryAfterMs = admission.retryAfterMs;
    this.epoch = admission.epoch;
    this.failures = admission.failures;
    /** Decided without the service, or by a service without Redis. */
    this.degraded = admission.degraded;
  }

  /** Whether asking again is of no use until a person has acted. */
  get needsPerson() {
    return this.retryAfterMs === null;
  }
}

/** The service did not answer within the deadline, or not at all, or what answered is another. */
export class SekringUnavailable extends SekringError {}

/** The client was closed. */
export class SekringClosed extends SekringError {
  constructor() {
    super("This Sekring client is closed: make a new one.");
  }
}

/** @param {Admission} admission */
function wordsOf({ instanceId, cause, state, reason, retryAfterMs }) {
  const why = reason === null ? (cause ?? state) : `${cause ?? state}: ${reason}`;
  const when =
    retryAfterMs === null
      ? "it stays so until a person has acted (a new QR code, or a reset)"
      : `ask again in ${Math.max(1, Math.ceil(retryAfterMs / 1000))} s`;
  return `${instanceId} may not connect now (${why}): ${when}.`;
}
