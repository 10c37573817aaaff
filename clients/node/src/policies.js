/**
 * Reads the policies in force, for decisions without the service: the fleet's at the beginning, an
 * instance's when it is first used, and either again when a change is announced.
 */

import { pathOf } from "./ids.js";

/** @import { Knowledge } from "./knowledge.js" */
/** @import { Transition } from "./model.js" */
/** @import { Transport } from "./transport.js" */

/** Policies that are read at a time. */
const AT_ONCE = 4;

/** Keeps the policies in `Knowledge` current. */
export class Policies {
  #transport;
  #knowledge;
  #background;
  /** Instances, and `*` for the fleet, whose policy is to be read. @type {Set<string>} */
  #wanted = new Set();
  #reading = 0;

  /**
   * @param {Transport} transport
   * @param {Knowledge} knowledge
   * @param {boolean} background whether the process may end meanwhile
   */
  constructor(transport, knowledge, background) {
    this.#transport = transport;
    this.#knowledge = knowledge;
    this.#background = background;
  }

  /**
   * An instance is used: know its policy, unless the service is away.
   * @param {string} name
   * @returns {Promise<void>}
   */
  async use(name) {
    if (this.#knowledge.hasPolicy(name)) return;
    try {
      // Somebody waits for it.
      await this.#read(name, false);
    } catch {
      // With the fleet's until it is used again.
    }
  }

  /** Read all again that are known; until then the old ones are in force. */
  refresh() {
    for (const name of ["*", ...this.#knowledge.policyNames()]) this.#want(name);
  }

  /** @param {Transition} transition */
  take({ action, instance_id: name }) {
    if (action !== "policy") return;
    if (name === "*") return this.refresh();
    if (this.#knowledge.hasPolicy(name)) this.#want(name);
  }

  /**
   * Read the fleet's policy now.
   * @returns {Promise<void>}
   */
  async readFleet() {
    const { policy } = await this.#transport.send("GET", "/v1/policy", {
      background: this.#background,
    });
    this.#knowledge.setFleetPolicy(policy);
  }

  /** @param {string} name */
  #want(name) {
    this.#wanted.add(name);
    if (this.#reading < AT_ONCE) this.#readAll();
  }

  async #readAll() {
    this.#reading += 1;
    try {
      for (const name of this.#wanted) {
        this.#wanted.delete(name);
        await this.#read(name, this.#background);
      }
    } catch {
      // The service is away: with the last known one. It is read when the instance is used again.
    } finally {
      this.#reading -= 1;
    }
  }

  /**
   * @param {string} name
   * @param {boolean} background
   */
  async #read(name, background) {
    if (name === "*") return this.readFleet();
    const path = pathOf(name, "policy");
    const { policy } = await this.#transport.send("GET", path, { background });
    this.#knowledge.setPolicy(name, policy);
  }
}
