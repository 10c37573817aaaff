/**
 * Follows `/v1/events`, so that what the client knows is kept current: one stream, resumed where it
 * was cut off, and proven alive by its heartbeats.
 *
 * Staleness: while the stream is live, what `Knowledge` holds as current is as old as an event
 * takes from the service, milliseconds as a rule. A network that swallows everything in silence is
 * noticed after `stalenessMs`; until then, an answer from memory may be that old, and never older.
 * The proof is an event `alive`, which says up to when the service knows everything itself.
 */

import { EventParser } from "./eventstream.js";
import { SekringInvalidInput } from "./errors.js";
import { sleep } from "./waiting.js";

/** @import { IncomingMessage } from "node:http" */
/** @import { Knowledge } from "./knowledge.js" */
/** @import { Transition } from "./model.js" */
/** @import { Transport } from "./transport.js" */

/** States in which an instance does not just connect: what is loaded when the stream begins. */
const NOT_CLOSED = ["open", "forced_open", "half_open", "disabled"];

/** Instances that are loaded of each state, at most: of others the service is asked. */
const LOADED_MAX = 5_000;
const PAGE = 500;

/** How often the service is asked to prove what it has told, in ms. */
const ALIVE_LEAST_MS = 100;
const ALIVE_MOST_MS = 600_000;

/** The longest wait until the stream is tried again, in ms. */
const PAUSE_MAX_MS = 15_000;

/**
 * @typedef {object} Hooks
 * @property {(transition: Transition) => void} onTransition
 * @property {(resumed: boolean) => void} onLive the stream is live; `resumed`: nothing was missed
 */

/** The client's view of the fleet. */
export class View {
  #transport;
  #knowledge;
  #stalenessMs;
  #hooks;
  #background;
  #closed = new AbortController();
  /** @type {string | undefined} */
  #lastId;
  #live = false;
  #provenMs = 0;
  /** Names what the service's Redis holds. @type {string | undefined} */
  #keyspace;
  #retryMs = 2_000;

  /**
   * @param {Transport} transport
   * @param {Knowledge} knowledge
   * @param {{ stalenessMs: number, background: boolean } & Hooks} options
   */
  constructor(transport, knowledge, { stalenessMs, background, ...hooks }) {
    this.#transport = transport;
    this.#knowledge = knowledge;
    this.#stalenessMs = stalenessMs;
    this.#background = background;
    this.#hooks = hooks;
  }

  /** Whether the stream is proven to have been alive within `stalenessMs`. */
  get isCurrent() {
    return this.#live && performance.now() - this.#provenMs <= this.#stalenessMs;
  }

  /** Follow until closed; never fails. */
  async run() {
    for (let pause = 0; !this.#closed.signal.aborted;) {
      const began = performance.now();
      try {
        await this.#follow();
      } catch (error) {
        // With an id that the service no longer takes, it begins from now on.
        if (error instanceof SekringInvalidInput) this.#lastId = undefined;
      }
      this.#lose();
      const lasted = performance.now() - began > PAUSE_MAX_MS;
      pause = lasted ? 0 : Math.min(PAUSE_MAX_MS, pause * 2 + this.#retryMs / 4);
      const spread = pause * (0.5 + Math.random() / 2);
      await sleep(spread, { signal: this.#closed.signal, background: this.#background });
    }
  }

  close() {
    this.#closed.abort();
  }

  #lose() {
    this.#live = false;
    this.#knowledge.forgetCurrent();
  }

  async #follow() {
    /** @type {Record<string, string>} */
    const headers = { Accept: "text/event-stream", "Cache-Control": "no-cache" };
    const resumed = this.#lastId !== undefined;
    if (this.#lastId !== undefined) headers["Last-Event-ID"] = this.#lastId;
    const aliveMs = Math.min(ALIVE_MOST_MS, Math.max(ALIVE_LEAST_MS, this.#stalenessMs >> 2));
    const path = `/v1/events?alive_ms=${aliveMs}`;
    const response = await this.#transport.open(path, headers, this.#background);
    const parser = new EventParser(
      this.#lastId,
      (event) => this.#take(event),
      () => this.#arrive(resumed),
    );
    const silence = this.#watchSilence(response);
    const stop = () => response.destroy();
    this.#closed.signal.addEventListener("abort", stop, { once: true });
    try {
      response.setEncoding("utf8");
      for await (const text of response) {
        parser.take(text);
        this.#retryMs = parser.retryMs;
        this.#lastId = parser.lastId;
      }
    } finally {
      clearInterval(silence);
      this.#closed.signal.removeEventListener("abort", stop);
      response.destroy();
    }
  }

  /**
   * Everything so far has come: what was missed, if the stream was resumed. From here on nothing is.
   * @param {boolean} resumed
   */
  #arrive(resumed) {
    if (this.#live) return;
    this.#live = true;
    this.#hooks.onLive(resumed);
    if (!resumed) this.#load();
  }

  /** @param {import("./eventstream.js").ServerSent} event */
  #take({ event, data }) {
    if (event === "gap") this.#learnAnew();
    else if (event === "alive") this.#prove(JSON.parse(data));
    else if (event === "transition") {
      /** @type {Transition} */
      const transition = JSON.parse(data);
      this.#knowledge.take(transition);
      this.#hooks.onTransition(transition);
    }
  }

  /** @param {{ keyspace: string, sent_ms: number, proven_ms: number }} alive */
  #prove({ keyspace, sent_ms: sent, proven_ms: proven }) {
    this.#provenMs = performance.now() - (sent - proven);
    if (this.#keyspace !== undefined && this.#keyspace !== keyspace) this.#learnAnew();
    this.#keyspace = keyspace;
  }

  /** Something happened that nobody can tell any more. */
  #learnAnew() {
    this.#knowledge.forgetCurrent();
    this.#load();
    this.#hooks.onLive(false);
  }

  /** Learn which instances are not closed; of those that are missing the service is asked. */
  async #load() {
    try {
      for (const state of NOT_CLOSED) {
        let cursor = "";
        for (let loaded = 0; loaded < LOADED_MAX; loaded += PAGE) {
          cursor = await this.#loadPage(state, cursor);
          if (!cursor) break;
        }
      }
    } catch {
      // The service is asked about each instance then.
    }
  }

  /**
   * @param {string} state
   * @param {string} cursor
   * @returns {Promise<string>} where to go on; empty: that was all
   */
  async #loadPage(state, cursor) {
    const query = new URLSearchParams({ state, limit: String(PAGE), ...(cursor && { cursor }) });
    const asked = this.#knowledge.ask();
    const page = await this.#transport.send("GET", `/v1/instances?${query}`, {
      background: this.#background,
    });
    for (const snapshot of page.instances) this.#knowledge.learnSnapshot(asked, snapshot);
    return page.cursor ?? "";
  }

  /** End a stream that is silent for too long. @param {IncomingMessage} response */
  #watchSilence(response) {
    this.#provenMs = performance.now();
    const timer = setInterval(
      () => {
        if (performance.now() - this.#provenMs <= this.#stalenessMs) return;
        this.#lose();
        response.destroy(new Error("the event stream is silent"));
      },
      Math.ceil(this.#stalenessMs / 4),
    );
    if (this.#background) timer.unref();
    return timer;
  }
}
