/** A way to the service that can be watched, cut and frozen. */

import { connect, createServer } from "node:net";

/** Passes bytes on, and keeps the requests' first lines. */
export class Proxy {
  /** First lines of requests, in their order. */
  requests = [];
  /** The same with their headers. */
  heads = [];
  #target;
  #server = createServer((socket) => this.#pass(socket));
  #pairs = new Set();
  #frozen = false;
  #shut = false;
  #mute = null;

  constructor(service) {
    this.#target = service;
  }

  async open() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** How many requests began like this. */
  count(beginning) {
    return this.requests.filter((line) => line.startsWith(beginning)).length;
  }

  /** Break every connection. */
  cut() {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** Break every connection, and each that comes until it is opened again. */
  shut() {
    this.#shut = true;
    this.cut();
  }

  reopen() {
    this.#shut = false;
  }

  /**
   * Pass nothing on, and say nothing: as a network that swallows everything; or, if `later` is
   * false, as one that has forgotten the connections that there are.
   */
  freeze({ later = true } = {}) {
    this.#frozen = later;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  thaw() {
    this.#frozen = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  /** Break the connection in place of the next answer to a request that begins like this. */
  loseAnswerTo(beginning) {
    this.#mute = beginning;
  }

  close() {
    this.cut();
    this.#server.close();
  }

  #pass(client) {
    if (this.#shut) return void client.destroy();
    const upstream = connect(this.#target.port, "localhost");
    const pair = [client, upstream];
    this.#pairs.add(pair);
    let losing = false;
    for (const socket of pair) {
      if (this.#frozen) socket.pause();
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#pairs.delete(pair);
        for (const other of pair) other.destroy();
      });
    }
    client.on("data", (data) => {
      const text = data.toString("latin1");
      for (const { 0: line, index } of text.matchAll(/^(GET|POST|PUT) \S+/gm)) {
        this.requests.push(line);
        this.heads.push(text.slice(index).split("\r\n\r\n", 1)[0]);
        if (this.#mute && line.startsWith(this.#mute)) {
          losing = true;
          this.#mute = null;
        }
      }
      upstream.write(data);
    });
    upstream.on("data", (data) => (losing ? client.destroy() : client.write(data)));
  }
}
