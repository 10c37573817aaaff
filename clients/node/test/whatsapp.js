/** The real Baileys, and what it meets on its way to WhatsApp: who refuses, hangs or lies. */

import { createServer } from "node:http";
import https from "node:https";

import { initAuthCreds, makeWASocket } from "@whiskeysockets/baileys";
import { WebSocketServer } from "ws";

import { freePort } from "./service.js";

const SILENT = { level: "silent", child: () => SILENT };
for (const level of ["trace", "debug", "info", "warn", "error", "fatal"]) SILENT[level] = () => {};

/** A socket of Baileys that belongs to no phone yet, on its way to `url`. */
export function socketTo(url, config = {}) {
  return makeWASocket({
    ...(url && { waWebSocketUrl: url }),
    auth: { creds: initAuthCreds(), keys: { get: async () => ({}), set: async () => {} } },
    logger: SILENT,
    connectTimeoutMs: 300,
    ...config,
  });
}

/** The way to web.whatsapp.com itself, from a machine that nothing leaves. */
export function noWayOut() {
  const lookup = (name, options, done) =>
    options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
  return new https.Agent({ lookup });
}

/** Plays WhatsApp's door: how it treats who comes is set by `mode`. */
export class Door {
  /** refuse | hang | close | open | a status: `open` opens the WebSocket, and says nothing more. */
  mode = 502;
  /** Connections so far. */
  met = 0;
  #server = createServer();
  #webSockets = new WebSocketServer({ noServer: true });
  #sockets = new Set();

  constructor(mode) {
    this.mode = mode;
    this.#server.on("connection", (socket) => {
      this.met += 1;
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
      if (this.mode === "close") socket.destroy();
    });
    const answer = (request, { socket = request.socket } = {}) => {
      if (typeof this.mode === "number")
        socket.end(`HTTP/1.1 ${this.mode} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    };
    this.#server.on("request", answer);
    this.#server.on("upgrade", (request, socket, head) => {
      if (this.mode === "open") this.#webSockets.handleUpgrade(request, socket, head, () => {});
      else answer(request, { socket });
    });
  }

  async open() {
    this.port = await freePort();
    if (this.mode !== "refuse")
      await new Promise((resolve) => this.#server.listen(this.port, "127.0.0.1", resolve));
    return this;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/ws/chat`;
  }

  close() {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

/** Have a socket's own handlers meet a stanza, as if WhatsApp had sent it. */
export const stanzas = {
  opened: (socket) => socket.ws.emit("CB:success", { tag: "success", attrs: {} }),
  stream: (socket, code, reason) =>
    socket.ws.emit("CB:stream:error", {
      tag: "stream:error",
      attrs: code ? { code: String(code) } : {},
      content: [{ tag: reason, attrs: {} }],
    }),
  failure: (socket, reason, attrs = {}) =>
    socket.ws.emit("CB:failure", { tag: "failure", attrs: { reason: String(reason), ...attrs } }),
  /** A pairing without a single code left to show. */
  qrOver: (socket) =>
    socket.ws.emit("CB:iq,type:set,pair-device", {
      tag: "iq",
      attrs: { id: "1" },
      content: [{ tag: "pair-device", attrs: {}, content: [] }],
    }),
};
