/** One HTTP request and what became of it: a decoded answer, or an error of Sekring's tree. */

import http from "node:http";
import https from "node:https";
import { urlToHttpOptions } from "node:url";

import {
  SekringError,
  SekringInvalidInput,
  SekringNotAllowed,
  SekringNotAuthenticated,
  SekringUnavailable,
} from "./errors.js";

const AGENT = "sekring-node";

/** Connections to the service at a time; others wait, and their deadline runs. */
const SOCKETS_MAX = 32;

/** An answer that is longer is not the service's. */
const ANSWER_MAX_BYTES = 16 * 1024 * 1024;

/** @import { Tracing } from "./tracing.js" */

/**
 * @typedef {object} Sending
 * @property {unknown} [body] sent as JSON
 * @property {number} [timeoutMs] for the whole request; default: the transport's
 * @property {boolean} [background] whether the process may end while it is on its way
 */

/** Sends requests to one service over a few connections that are kept. */
export class Transport {
  #base;
  /** Where, as Node takes it: as a URL, `.` and `..` in a path would be taken for steps. */
  #place;
  #prefix;
  #headers;
  #module;
  #agent;
  #timeoutMs;
  #tracing;
  /** @type {Set<http.ClientRequest>} */
  #underWay = new Set();

  /**
   * @param {{ url: URL, token?: string | undefined, timeoutMs: number }} options
   * @param {Tracing} tracing
   */
  constructor({ url, token, timeoutMs }, tracing) {
    this.#tracing = tracing;
    this.#base = url.href.replace(/\/+$/, "");
    this.#place = urlToHttpOptions(url);
    this.#prefix = url.pathname.replace(/\/+$/, "");
    this.#module = url.protocol === "https:" ? https : http;
    this.#agent = new this.#module.Agent({ keepAlive: true, maxSockets: SOCKETS_MAX });
    this.#timeoutMs = timeoutMs;
    this.#headers = { "User-Agent": AGENT, ...(token && { Authorization: `Bearer ${token}` }) };
  }

  /** Where the service is. */
  get url() {
    return this.#base;
  }

  /**
   * Send a request; the decoded answer.
   * @param {string} method
   * @param {string} path
   * @param {Sending} [sending]
   * @returns {Promise<any>}
   */
  async send(method, path, { body, timeoutMs = this.#timeoutMs, background = false } = {}) {
    const deadline = performance.now() + timeoutMs;
    for (let again = false; ; again = true) {
      try {
        const left = Math.max(1, deadline - performance.now());
        return this.#decoded(await this.#exchange(method, path, body, left, background));
      } catch (error) {
        // The service closed a kept connection just when it was used again: nothing was done.
        if (again || !(error instanceof StaleConnection)) throw this.#unavailable(error, timeoutMs);
      }
    }
  }

  /**
   * Open a stream; the response, whose body is yet to be read. It never holds up the process.
   * @param {string} path
   * @param {Record<string, string>} headers
   * @param {boolean} background
   * @returns {Promise<http.IncomingMessage>}
   */
  open(path, headers, background) {
    return new Promise((resolve, reject) => {
      const request = this.#module.request({
        ...this.#place,
        path: this.#prefix + path,
        // A connection of its own: a stream must not take one of the requests'.
        agent: false,
        headers: { ...this.#headers, ...this.#tracing.headers(), ...headers },
      });
      const timer = setTimeout(() => request.destroy(new Deadline()), this.#timeoutMs);
      if (background) {
        timer.unref();
        request.on("socket", (socket) => socket.unref());
      }
      this.#underWay.add(request);
      request.on("close", () => this.#underWay.delete(request));
      request.on("error", (error) => reject(this.#unavailable(error, this.#timeoutMs)));
      request.on("close", () => clearTimeout(timer));
      request.on("response", (response) => {
        clearTimeout(timer);
        if (response.statusCode === 200) return resolve(response);
        read(response).then(
          (answer) => reject(this.#refusal(answer)),
          (error) => reject(this.#unavailable(error, this.#timeoutMs)),
        );
      });
      request.end();
    });
  }

  /** End everything that is under way, and the connections. */
  close() {
    for (const request of this.#underWay) request.destroy(new Error("the client was closed"));
    this.#agent.destroy();
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} body
   * @param {number} timeoutMs
   * @param {boolean} background
   * @returns {Promise<Answer>}
   */
  #exchange(method, path, body, timeoutMs, background) {
    const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const request = this.#module.request({
        ...this.#place,
        path: this.#prefix + path,
        method,
        agent: this.#agent,
        headers: {
          ...this.#headers,
          ...this.#tracing.headers(),
          Accept: "application/json",
          ...(content && { "Content-Type": "application/json", "Content-Length": content.length }),
        },
      });
      const timer = setTimeout(() => request.destroy(new Deadline()), timeoutMs);
      if (background) {
        timer.unref();
        request.on("socket", (socket) => socket.unref());
      }
      this.#underWay.add(request);
      request.on("close", () => {
        this.#underWay.delete(request);
        clearTimeout(timer);
      });
      request.on("error", (/** @type {NodeJS.ErrnoException} */ error) => {
        const stale = request.reusedSocket && ["ECONNRESET", "EPIPE"].includes(error.code ?? "");
        reject(stale ? new StaleConnection() : error);
      });
      request.on("response", (response) => read(response).then(resolve, reject));
      request.end(content);
    });
  }

  /** @param {Answer} answer */
  #decoded(answer) {
    if (answer.status < 200 || answer.status > 299) throw this.#refusal(answer);
    try {
      return JSON.parse(answer.text);
    } catch {
      throw this.#strange(answer.status);
    }
  }

  /**
   * What an answer that is no success means.
   * @param {Answer} answer
   * @returns {SekringError}
   */
  #refusal({ status, type, text }) {
    const problem = type === "application/problem+json" ? parsed(text) : null;
    if (typeof problem?.detail !== "string") return this.#strange(status);
    if (status >= 500)
      return new SekringUnavailable(
        `The service at ${this.#base} cannot answer now: ${problem.detail}`,
      );
    if (status === 401) return new SekringNotAuthenticated(problem.detail);
    if (status === 403) return new SekringNotAllowed(problem.detail);
    return new SekringInvalidInput(problem.detail, problem.field ?? null);
  }

  /**
   * @param {unknown} error
   * @param {number} timeoutMs
   * @returns {SekringError}
   */
  #unavailable(error, timeoutMs) {
    if (error instanceof SekringError) return error;
    const words =
      error instanceof Deadline
        ? `did not answer within ${timeoutMs} ms.`
        : `cannot be reached: ${messageOf(error)}`;
    return new SekringUnavailable(`The service at ${this.#base} ${words}`, { cause: error });
  }

  /** @param {number} status */
  #strange(status) {
    return new SekringUnavailable(
      `What answered at ${this.#base} with status ${status} is not the breaker service, or a load` +
        " balancer without one behind it.",
    );
  }
}

/**
 * Where the service is said to be.
 * @param {string | URL} text
 * @returns {URL}
 */
export function serviceUrl(text) {
  const url = URL.canParse(String(text)) ? new URL(text) : null;
  if (!url || !["http:", "https:"].includes(url.protocol))
    throw new SekringInvalidInput(
      `url is ${JSON.stringify(String(text))}; it takes the address of the service, such as` +
        " http://localhost:8000.",
      "url",
    );
  url.search = url.hash = "";
  return url;
}

/** @typedef {{ status: number, type: string, text: string }} Answer */

/** The deadline of a request has passed. */
class Deadline extends Error {}

/** A kept connection was closed by its other end when it was used again. */
class StaleConnection extends Error {}

/**
 * @param {http.IncomingMessage} response
 * @returns {Promise<Answer>}
 */
async function read(response) {
  const parts = [];
  let size = 0;
  for await (const part of response) {
    size += part.length;
    if (size > ANSWER_MAX_BYTES) throw new Error("the answer is too long");
    parts.push(part);
  }
  const type = (response.headers["content-type"] ?? "").split(";")[0] ?? "";
  const text = Buffer.concat(parts).toString("utf8");
  return { status: response.statusCode ?? 0, type: type.trim(), text };
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {any} error */
function messageOf(error) {
  // Of several addresses that were tried, Node names none in the message.
  return error?.message || error?.errors?.[0]?.message || error?.code || String(error);
}
