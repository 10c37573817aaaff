/** Server-Sent Events (WHATWG HTML, section 9.2) as they come in: pieces of text to events. */

/**
 * @typedef {object} ServerSent
 * @property {string} event
 * @property {string} data
 */

/** An event that is longer is none of the service's. */
const LINE_MAX = 1024 * 1024;

/** Puts events together; `lastId` is what a client resumes with. */
export class EventParser {
  #rest = "";
  #event = "";
  /** @type {string[]} */
  #data = [];
  #id;
  #named = false;
  #onEvent;
  #onPlace;
  /** @type {string | undefined} */
  lastId;
  /** How long to wait until the stream is opened again, in ms, if the server has said so. */
  retryMs = 2_000;

  /**
   * @param {string | undefined} lastId
   * @param {(event: ServerSent) => void} onEvent
   * @param {() => void} onPlace an id without an event: the client has everything up to it
   */
  constructor(lastId, onEvent, onPlace) {
    this.lastId = this.#id = lastId;
    this.#onEvent = onEvent;
    this.#onPlace = onPlace;
  }

  /**
   * Take the next piece; lines may be cut anywhere.
   * @param {string} text
   */
  take(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = /** @type {string} */ (lines.pop());
    if (this.#rest.length > LINE_MAX) throw new Error("a line of the event stream is too long");
    for (const line of lines) this.#takeLine(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  /** @param {string} line */
  #takeLine(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") {
      this.#id = value;
      this.#named = true;
    } else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }

  #dispatch() {
    const event = { event: this.#event || "message", data: this.#data.join("\n") };
    const [filled, moved] = [this.#data.length > 0, this.#named];
    this.#event = "";
    this.#data = [];
    this.#named = false;
    if (filled) this.#onEvent(event);
    // Only now: an id counts when its event has been taken.
    this.lastId = this.#id;
    if (moved && !filled) this.#onPlace();
  }
}
