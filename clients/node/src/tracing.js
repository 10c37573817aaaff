/**
 * Which trace a request, or a report that waits, belongs to: W3C Trace Context, by OpenTelemetry.
 *
 * `@opentelemetry/api` is an optional peer: without it nothing of this happens. The client makes no
 * spans of its own: OpenTelemetry's instrumentation of `node:http` does that for its requests.
 */

import { createRequire } from "node:module";

/** @typedef {typeof import("@opentelemetry/api")} Api */

/** The tracing of the process, if it has any. */
export class Tracing {
  #api;

  /** @param {Api | null} [api] OpenTelemetry's; default: the one that is installed */
  constructor(api = installed()) {
    this.#api = api;
  }

  /**
   * The current context as W3C's header has it.
   * @returns {string | undefined} `undefined`: there is none
   */
  traceparent() {
    const span = this.#span();
    if (!span) return undefined;
    const flags = span.traceFlags.toString(16).padStart(2, "0");
    return `00-${span.traceId}-${span.spanId}-${flags}`;
  }

  /**
   * The headers that take the current context along.
   * @returns {Record<string, string>}
   */
  headers() {
    const traceparent = this.traceparent();
    if (!traceparent) return {};
    const tracestate = this.#span()?.traceState?.serialize();
    return { traceparent, ...(tracestate && { tracestate }) };
  }

  /**
   * Do what is no part of the current trace, though it is begun within: what goes on behind the
   * caller's back, and what is sent for several callers at once.
   * @template T
   * @param {() => T} work
   * @returns {T}
   */
  outside(work) {
    return this.#api ? this.#api.context.with(this.#api.ROOT_CONTEXT, work) : work();
  }

  #span() {
    const span = this.#api?.trace.getSpanContext(this.#api.context.active());
    return span && this.#api?.isSpanContextValid(span) ? span : undefined;
  }
}

/** @returns {Api | null} */
function installed() {
  try {
    return createRequire(import.meta.url)("@opentelemetry/api");
  } catch {
    return null;
  }
}
