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
    constructor(message: string, options?: ErrorOptions);
}
/** What the caller gave cannot be used. */
export class SekringInvalidInput extends SekringError {
    /**
     * @param {string} message what was wrong, what was expected, how to go on
     * @param {string | null} [field] path of the offending field; `null`: the request as a whole
     */
    constructor(message: string, field?: string | null);
    field: string | null;
}
/** No token was sent, or one that the service does not know. */
export class SekringNotAuthenticated extends SekringError {
}
/** The token is known, its role does not suffice. */
export class SekringNotAllowed extends SekringError {
}
/** The breaker lets the instance not connect now. */
export class SekringRefused extends SekringError {
    /** @param {Admission} admission */
    constructor(admission: Admission);
    instanceId: string;
    state: import("./model.js").State;
    /** Why: `failures`, `probing`, `operator`, `fleet`, or the kind of a failure. */
    cause: string | null;
    /** What the operator said who opened it. */
    reason: string | null;
    /** When to ask again, in ms; `null`: only a person can help. */
    retryAfterMs: number | null;
    epoch: number;
    failures: number;
    /** Decided without the service, or by a service without Redis. */
    degraded: boolean;
    /** Whether asking again is of no use until a person has acted. */
    get needsPerson(): boolean;
}
/** The service did not answer within the deadline, or not at all, or what answered is another. */
export class SekringUnavailable extends SekringError {
}
/** The client was closed. */
export class SekringClosed extends SekringError {
    constructor();
}
import type { Admission } from "./model.js";
