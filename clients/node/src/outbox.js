/**
 * Reports on their way to the service: sent in batches, kept with their age while it does not take
 * them, and sent again under the same id, so that each counts once.
 */

import {
  SekringClosed,
  SekringError,
  SekringInvalidInput,
  SekringNotAllowed,
  SekringNotAuthenticated,
  SekringUnavailable,
} from "./errors.js";
import { verdictOf } from "./model.js";
import { sleep } from "./waiting.js";

/** @import { Asked, Knowledge } from "./knowledge.js" */
/** @import { Verdict } from "./model.js" */
/** @import { Tracing } from "./tracing.js" */
/** @import { Transport } from "./transport.js" */

/** Reports of one request: with details of full length, less than the service takes. */
const BATCH_MAX = 400;

/** The greatest age that the service takes, in ms: a week. It counts nothing of nearly that age. */
const OLDEST_MS = 604_800_000;

/** How long to wait until a service that refuses this client's token is tried again, in ms. */
const REFUSED_PAUSE_MS = 5_000;

/**
 * @typedef {object} Report
 * @property {string} instanceId
 * @property {Readonly<Record<string, unknown>>} body as the service takes it, without its age
 * @property {number} atMs when it happened (`performance.now()`)
 * @property {(verdict: Verdict) => void} settle
 * @property {(error: Error) => void} fail
 * @property {() => void} decide settles it without the service
 */

/**
 * @typedef {object} OutboxHooks
 * @property {() => boolean} isAway whether the service is known to be away: nothing is sent by itself
 * @property {(error: SekringUnavailable) => void} onAway the service did not take them
 * @property {(report: Report, why: string) => void} onDropped
 */

/**
 * How a batch ended: there was none, the service took it, or the service is away or refuses the
 * token, and it waits.
 * @typedef {"empty" | "taken" | "away" | "refused"} End
 */

/** What waits for the service. */
export class Outbox {
  #transport;
  #knowledge;
  #tracing;
  #most;
  #afterMs;
  #hooks;
  /** @type {Report[]} */
  #waiting = [];
  /** @type {Report[]} */
  #underWay = [];
  /** @type {Promise<End> | undefined} */
  #sending;
  #scheduled = false;
  #batchMax = BATCH_MAX;
  /** Reports that were given up. */
  dropped = 0;

  /**
   * @param {Transport} transport
   * @param {Knowledge} knowledge
   * @param {Tracing} tracing
   * @param {{ most: number, afterMs: number } & OutboxHooks} options
   */
  constructor(transport, knowledge, tracing, { most, afterMs, ...hooks }) {
    this.#transport = transport;
    this.#knowledge = knowledge;
    this.#tracing = tracing;
    this.#most = most;
    this.#afterMs = afterMs;
    this.#hooks = hooks;
  }

  /** How many wait, or are on their way. */
  get size() {
    return this.#waiting.length + this.#underWay.length;
  }

  /** Whether something of the instance waits. @param {string} name */
  has(name) {
    const ofIt = (/** @type {Report} */ report) => report.instanceId === name;
    return this.#waiting.some(ofIt) || this.#underWay.some(ofIt);
  }

  /** Have it sent, soon. @param {Report} report */
  add(report) {
    this.#waiting.push(report);
    if (this.size > this.#most && this.#waiting.length > 1) {
      const oldest = /** @type {Report} */ (this.#waiting.shift());
      this.#drop(oldest, "too many wait for the service");
    }
    if (this.#hooks.isAway()) return;
    if (this.#waiting.length >= this.#batchMax) this.flush();
    else this.#schedule(this.#afterMs, false);
  }

  /**
   * Send all that waits, and what comes meanwhile. Never fails.
   * @returns {Promise<boolean>} false: the service was not there to take it
   */
  async flush() {
    for (;;) {
      const end = await this.#sendBatch();
      if (end !== "taken") return end !== "away";
    }
  }

  /**
   * Send what waits by now: however fast more comes, this has an end. Never fails.
   * @returns {Promise<boolean>} false: the service was not there to take it
   */
  async catchUp() {
    for (let left = this.size; left > 0; left -= this.#batchMax) {
      const end = await this.#sendBatch();
      if (end !== "taken") return end !== "away";
    }
    return true;
  }

  /** Send what waits of an instance, and what is in front of it. @param {string} name */
  async tell(name) {
    while (this.has(name)) if ((await this.#sendBatch()) !== "taken") return;
  }

  /** Settle what waits without the service, which is away: it is told later. */
  decide() {
    for (const report of this.#waiting) report.decide();
  }

  /** Give up whatever waits; how many that was. */
  close() {
    const left = this.#waiting.splice(0);
    for (const report of left) this.#drop(report, "the client was closed");
    return left.length;
  }

  /**
   * @param {number} ms
   * @param {boolean} background
   */
  async #schedule(ms, background) {
    if (this.#scheduled) return;
    this.#scheduled = true;
    await sleep(ms, { background });
    this.#scheduled = false;
    if (!this.#hooks.isAway()) await this.flush();
  }

  /** One batch at a time, so that those of an instance come in their order. */
  #sendBatch() {
    // Whoever has brought it about, it is sent for others as well.
    this.#sending ??= this.#tracing.outside(() =>
      this.#sendNext().finally(() => {
        this.#sending = undefined;
      }),
    );
    return this.#sending;
  }

  /** @returns {Promise<End>} */
  async #sendNext() {
    if (this.#waiting.length === 0) {
      this.#batchMax = BATCH_MAX;
      return "empty";
    }
    this.#underWay = this.#waiting.splice(0, this.#batchMax);
    const asked = this.#knowledge.ask();
    /** @type {unknown} */
    let trouble;
    try {
      trouble = this.#take(await this.#send(this.#underWay), asked);
    } catch (error) {
      trouble = error;
    }
    const left = this.#underWay;
    this.#underWay = [];
    if (trouble === undefined) return "taken";
    this.#waiting.unshift(...left);
    if (!(trouble instanceof SekringInvalidInput)) return this.#stop(trouble);
    this.#narrow(left.length, trouble);
    return "taken";
  }

  /** @param {Report[]} reports */
  async #send(reports) {
    const now = performance.now();
    const outcomes = reports.map(({ instanceId, body, atMs }) => ({
      ...body,
      instance_id: instanceId,
      age_ms: Math.min(OLDEST_MS, Math.max(0, Math.floor(now - atMs))),
    }));
    const { results } = await this.#transport.send("POST", "/v1/outcomes", { body: { outcomes } });
    if (!Array.isArray(results) || results.length !== reports.length)
      throw new SekringUnavailable(`What answered at ${this.#transport.url} is another service.`);
    return results;
  }

  /**
   * Settle what was answered; what the service could not take now stays under way.
   * @param {any[]} results
   * @param {Asked} asked
   * @returns {SekringError | undefined}
   */
  #take(results, asked) {
    /** @type {Report[]} */
    const left = [];
    let words = "";
    this.#underWay.forEach((report, place) => {
      const { error, ...answer } = results[place];
      if (!error) {
        const verdict = verdictOf(answer);
        this.#knowledge.learnVerdict(report.instanceId, asked, verdict);
        report.settle(verdict);
      } else if (error.status >= 500) {
        left.push(report);
        words = error.detail;
      } else {
        report.fail(new SekringInvalidInput(error.detail, error.field ?? null));
        this.#drop(report, error.detail);
      }
    });
    this.#underWay = left;
    if (left.length === 0) return undefined;
    return new SekringUnavailable(`The service at ${this.#transport.url} cannot answer: ${words}`);
  }

  /**
   * A request as a whole was refused: send less at a time, until it is known which is at fault.
   * @param {number} size
   * @param {SekringInvalidInput} error
   */
  #narrow(size, error) {
    this.#batchMax = size > 1 ? Math.ceil(size / 2) : BATCH_MAX;
    if (size > 1) return;
    const report = /** @type {Report} */ (this.#waiting.shift());
    report.fail(error);
    this.#drop(report, error.message);
  }

  /**
   * @param {unknown} trouble
   * @returns {End}
   */
  #stop(trouble) {
    if (trouble instanceof SekringNotAuthenticated || trouble instanceof SekringNotAllowed) {
      // The token is at fault, not the reports: they wait until it is mended.
      for (const report of this.#waiting) report.fail(trouble);
      this.#schedule(REFUSED_PAUSE_MS, true);
      return "refused";
    }
    const error =
      trouble instanceof SekringUnavailable
        ? trouble
        : new SekringUnavailable(`The reports could not be sent: ${trouble}`, { cause: trouble });
    this.#hooks.onAway(error);
    this.decide();
    return "away";
  }

  /**
   * @param {Report} report
   * @param {string} why
   */
  #drop(report, why) {
    this.dropped += 1;
    report.fail(new SekringClosed());
    this.#hooks.onDropped(report, why);
  }
}
