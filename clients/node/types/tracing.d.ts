/** @typedef {typeof import("@opentelemetry/api")} Api */
/** The tracing of the process, if it has any. */
export class Tracing {
    /** @param {Api | null} [api] OpenTelemetry's; default: the one that is installed */
    constructor(api?: Api | null);
    /**
     * The current context as W3C's header has it.
     * @returns {string | undefined} `undefined`: there is none
     */
    traceparent(): string | undefined;
    /**
     * The headers that take the current context along.
     * @returns {Record<string, string>}
     */
    headers(): Record<string, string>;
    /**
     * Do what is no part of the current trace, though it is begun within: what goes on behind the
     * caller's back, and what is sent for several callers at once.
     * @template T
     * @param {() => T} work
     * @returns {T}
     */
    outside<T>(work: () => T): T;
    #private;
}
export type Api = typeof import("@opentelemetry/api");
