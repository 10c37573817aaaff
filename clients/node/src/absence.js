/** Whether the service is away, and the way back to it. */

import { SekringUnavailable } from "./errors.js";
import { sleep } from "./waiting.js";

/** How a service that is away is tried again, in ms: at first, and at most. */
const TRY_FIRST_MS = 250;
const TRY_MOST_MS = 2_000;

/**
 * @typedef {object} Ways
 * @property {() => Promise<unknown>} ask ask the service anything; fails while it is away
 * @property {() => Promise<boolean>} catchUp have it learn what waits; false: it did not take it
 * @property {(error: SekringUnavailable) => void} onAway
 * @property {() => void} onBack it is there, and has learnt what waited
 */

/** The service's absence: it begins with one failed request, and ends when all was told. */
export class Absence {
  #isNow = false;
  #ways;
  #background;
  #ended = new AbortController();

  /** @param {{ background: boolean } & Ways} options */
  constructor({ background, ...ways }) {
    this.#background = background;
    this.#ways = ways;
  }

  /** Whether decisions are made without the service. */
  get isNow() {
    return this.#isNow;
  }

  /** @param {SekringUnavailable} error */
  begin(error) {
    if (this.#isNow || this.#ended.signal.aborted) return;
    this.#isNow = true;
    this.#ways.onAway(error);
    this.#comeBack();
  }

  /** Try no more. */
  close() {
    this.#ended.abort();
  }

  async #comeBack() {
    const { signal } = this.#ended;
    const background = this.#background;
    for (let pause = TRY_FIRST_MS; ; pause = Math.min(TRY_MOST_MS, pause * 2)) {
      if (!(await sleep(pause * (0.5 + Math.random() / 2), { signal, background }))) return;
      try {
        await this.#ways.ask();
      } catch (error) {
        // Any other answer than none is the service's: it is there.
        if (error instanceof SekringUnavailable) continue;
      }
      if (await this.#ways.catchUp()) break;
    }
    this.#isNow = false;
    this.#ways.onBack();
  }
}
