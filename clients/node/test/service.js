/** `sekring serve` as users start it: a process on a free port, with a data folder of its own. */

import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The command of this repository's environment; the wrapper in tests/ names it. */
const COMMAND =
  process.env.SEKRING_COMMAND ??
  fileURLToPath(new URL("../../../.venv/bin/sekring", import.meta.url));

/** Breakers that trip, and recover, within the patience of a test. */
export const QUICK_POLICY = {
  cooldown_ms: 600_000,
  stable_after_ms: 0,
  backoff: { base_ms: 10, cap_ms: 20, jitter: 0 },
};

/** One service with an embedded Valkey; a killed one can be started again, with what it knew. */
export class Service {
  #settings;
  #child;
  #folder;
  #log = "";

  constructor(settings = {}) {
    this.#settings = settings;
  }

  get url() {
    return `http://localhost:${this.port}`;
  }

  async start() {
    this.#folder ??= await mkdtemp(join(tmpdir(), "sekring-node-"));
    this.port ??= await freePort();
    const environment = { PATH: process.env.PATH, HOME: process.env.HOME };
    const settings = { port: this.port, data_dir: this.#folder, drain_ms: 0, ...this.#settings };
    for (const [name, value] of Object.entries(settings))
      environment[`SEKRING_${name.toUpperCase()}`] = String(value);
    this.#child = spawn(COMMAND, ["serve"], {
      env: environment,
      // Its workers and its Valkey are in its group, so that `kill` leaves none behind.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    process.once("exit", () => this.#leaveNothing());
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.on("data", (data) => (this.#log += data));
    await until(async () => {
      if (this.#child.exitCode !== null) throw new Error(`the service has ended:\n${this.#log}`);
      return this.#answers();
    }, "the service to be ready");
    return this;
  }

  /** Send the whole group a signal: SIGSTOP, SIGCONT. */
  signal(name) {
    process.kill(-this.#child.pid, name);
  }

  /** End it without a word, its Valkey with it. */
  async kill() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.signal("SIGKILL");
    await ended;
    // Valkey is a child of its own: its data folder is free when it is gone.
    await sleep(200);
  }

  async stop() {
    if (this.#child && this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise((resolve) => this.#child.once("exit", resolve));
      this.#child.kill("SIGTERM");
      await ended;
    }
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
  }

  /** Ask it as an operator does, past the client under test. */
  async ask(method, path, body) {
    const response = await fetch(this.url + path, {
      method,
      body: body && JSON.stringify(body),
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) },
    });
    return response.json();
  }

  setPolicy(policy) {
    return this.ask("PUT", "/v1/policy", policy);
  }

  instance(id) {
    return this.ask("GET", `/v1/instances/${id}`);
  }

  reset(id) {
    return this.ask("POST", `/v1/instances/${id}/reset`, {});
  }

  #leaveNothing() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    // By itself it ends its Valkey as well.
    this.signal("SIGCONT");
    this.signal("SIGTERM");
  }

  async #answers() {
    try {
      return (await fetch(`${this.url}/ready`)).ok;
    } catch {
      return false;
    }
  }
}

/** A token of that role, and the setting by which a service knows it. */
export async function newToken(role) {
  const { stdout } = await promisify(execFile)(COMMAND, ["token", "new", "--json", "--role", role]);
  return JSON.parse(stdout);
}

/** Poll a condition until it is true; fail with `what` after a generous time. */
export async function until(condition, what, seconds = 30) {
  const deadline = Date.now() + seconds * 1_000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s for ${what}`);
    await sleep(10);
  }
}

/** A TCP port that nobody listens on now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A logger that keeps what it is told. */
export class Log {
  lines = [];
  info = (line) => void this.lines.push(line);
  warn = this.info;
  error = this.info;
}
