/**
 * Where the service is said to be.
 * @param {string | URL} text
 * @returns {URL}
 */
export function serviceUrl(text: string | URL): URL;
/** @import { Tracing } from "./tracing.js" */
/**
 * @typedef {object} Sending
 * @property {unknown} [body] sent as JSON
 * @property {number} [timeoutMs] for the whole request; default: the transport's
 * @property {boolean} [background] whether the process may end while it is on its way
 */
/** Sends requests to one service over a few connections that are kept. */
export class Transport {
    /**
     * @param {{ url: URL, token?: string | undefined, timeoutMs: number }} options
     * @param {Tracing} tracing
     */
    constructor({ url, token, timeoutMs }: {
        url: URL;
        token?: string | undefined;
        timeoutMs: number;
    }, tracing: Tracing);
    /** Where the service is. */
    get url(): string;
    /**
     * Send a request; the decoded answer.
     * @param {string} method
     * @param {string} path
     * @param {Sending} [sending]
     * @returns {Promise<any>}
     */
    send(method: string, path: string, { body, timeoutMs, background }?: Sending): Promise<any>;
    /**
     * Open a stream; the response, whose body is yet to be read. It never holds up the process.
     * @param {string} path
     * @param {Record<string, string>} headers
     * @param {boolean} background
     * @returns {Promise<http.IncomingMessage>}
     */
    open(path: string, headers: Record<string, string>, background: boolean): Promise<http.IncomingMessage>;
    /** End everything that is under way, and the connections. */
    close(): void;
    #private;
}
export type Sending = {
    /**
     * sent as JSON
     */
    body?: unknown;
    /**
     * for the whole request; default: the transport's
     */
    timeoutMs?: number | undefined;
    /**
     * whether the process may end while it is on its way
     */
    background?: boolean | undefined;
};
export type Answer = {
    status: number;
    type: string;
    text: string;
};
import http from "node:http";
import type { Tracing } from "./tracing.js";
