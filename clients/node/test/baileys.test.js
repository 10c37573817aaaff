/** The real Baileys under the breaker: nothing of it is replaced but the way to WhatsApp. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { Sekring, SekringRefused, connectGuarded, guardBaileys } from "../src/index.js";
import { Log, QUICK_POLICY, Service, until } from "./service.js";
import { Door, noWayOut, socketTo, stanzas } from "./whatsapp.js";

/** What ends within the test by what the test does, and not by its time. */
const PATIENT = { connectTimeoutMs: 10_000 };

const service = new Service();
let sekring;
let number = 0;
const doors = [];

before(async () => {
  await service.start();
  await service.setPolicy(QUICK_POLICY);
  sekring = new Sekring({
    url: service.url,
    gateway: "node-1",
    build: "baileys/7",
    logger: new Log(),
  });
});
after(async () => {
  await sekring.close();
  await service.stop();
});
afterEach(() => doors.splice(0).forEach((door) => door.close()));

async function door(mode) {
  const opened = await new Door(mode).open();
  doors.push(opened);
  return opened;
}

const fresh = () => `session-${++number}`;

// ------------------------------------------------------------------ what happens to a socket

for (const [mode, code, kind] of [
  ["refuse", 408, "timeout"],
  ["close", 408, "timeout"],
  ["hang", 408, "timeout"],
  [502, 502, "websocket"],
  [403, 403, "websocket"],
]) {
  test(`a connect that meets ${mode} is counted by its code`, async () => {
    const [instanceId, { url }] = [fresh(), await door(mode)];

    const ending = await guardBaileys(socketTo(url), { sekring, instanceId }).ended;

    assert.deepEqual([ending.reason, ending.code], ["lost", code]);
    assert.deepEqual([ending.verdict.why, ending.verdict.failures], ["counted", 1]);
    const told = await service.instance(instanceId);
    assert.equal(told.last_failure_kind, kind);
    assert.match(told.last_failure_detail, /WebSocket Error/);
  });
}

for (const [what, happens, reason, why] of [
  [
    "replaced by another connection",
    (s) => stanzas.stream(s, 0, "conflict"),
    "conflict",
    "conflict",
  ],
  ["told to restart after pairing", (s) => stanzas.stream(s, 515, "x"), "restart", "ignored"],
  [
    "logged out at the phone",
    (s) => stanzas.stream(s, 401, "conflict"),
    "needs_person",
    "permanent",
  ],
  ["locked", (s) => stanzas.failure(s, 403), "needs_person", "permanent"],
  ["outdated", (s) => stanzas.failure(s, 405), "outdated", "build"],
  ["out of service", (s) => stanzas.failure(s, 503), "lost", "counted"],
  ["without anybody who scans its QR codes", (s) => stanzas.qrOver(s), "unpaired", "ignored"],
]) {
  test(`a session that is ${what}`, async () => {
    const [instanceId, { url }] = [fresh(), await door("open")];
    const socket = socketTo(url, PATIENT);
    const guarded = guardBaileys(socket, { sekring, instanceId });
    await until(() => socket.ws.isOpen, "the WebSocket");
    happens(socket);

    const ending = await guarded.ended;

    assert.deepEqual([ending.reason, ending.verdict.why], [reason, why]);
    assert.equal(ending.verdict.failures, why === "counted" ? 1 : 0);
    // What concerns the build concerns all of this one's sessions: lifted for the next test.
    if (why === "build") await service.ask("DELETE", "/v1/builds?build=baileys/7");
  });
}

test("a temporary ban lasts as long as WhatsApp says", async () => {
  const [instanceId, { url }] = [fresh(), await door("open")];
  const socket = socketTo(url, PATIENT);
  const guarded = guardBaileys(socket, { sekring, instanceId });
  await until(() => socket.ws.isOpen, "the WebSocket");
  stanzas.failure(socket, 402, { code: "101", expire: "7200" });

  const { reason, verdict } = await guarded.ended;

  assert.deepEqual([reason, verdict.why, verdict.state], ["banned", "ban", "open"]);
  assert.ok(verdict.retryAfterMs > 7_100_000 && verdict.retryAfterMs < 7_600_000);
});

test("a connection is a success when it opens, and a failure when it is lost", async () => {
  const [instanceId, { url }] = [fresh(), await door("hang")];
  const attempt = await sekring.permit(instanceId);
  const socket = socketTo(url, PATIENT);
  const guarded = guardBaileys(socket, { sekring, instanceId, attempt });
  stanzas.opened(socket);
  await until(async () => (await service.instance(instanceId)).connection === "connected", "it");
  // A reset meanwhile makes the attempt's epoch an old one: the connection's end counts all the same.
  await service.reset(instanceId);

  socket.ws.emit("CB:xmlstreamend");

  assert.equal((await guarded.ended).verdict.why, "counted");
  assert.equal((await service.instance(instanceId)).connection, "");
});

test("a connection that this side ends is no failure", async () => {
  for (const end of [(s) => s.end(undefined), (s) => s.logout(), (s, guarded) => guarded.end()]) {
    const [instanceId, { url }] = [fresh(), await door("hang")];
    const socket = socketTo(url, PATIENT);
    const guarded = guardBaileys(socket, { sekring, instanceId });
    stanzas.opened(socket);
    await until(async () => (await service.instance(instanceId)).connection === "connected", "it");
    end(socket, guarded);

    assert.equal((await guarded.ended).verdict.why, "disconnected");

    const told = await service.instance(instanceId);
    assert.deepEqual([told.failures, told.connection, told.state], [0, "", "closed"]);
  }
});

// ------------------------------------------------------------------------ the loop around it

test("15 real failures open the breaker, a reset lets the loop go on, and it recovers", async () => {
  const instanceId = fresh();
  const way = await door("hang");
  const refusals = [];
  const endings = [];
  let reachable = false;
  const session = connectGuarded(
    () => {
      // To WhatsApp's own address, which cannot be reached; then to a door that stays open.
      const socket = reachable
        ? socketTo(way.url, PATIENT)
        : socketTo(undefined, { agent: noWayOut() });
      if (reachable) setTimeout(() => stanzas.opened(socket), 20);
      return socket;
    },
    {
      sekring,
      instanceId,
      onRefused: (refusal) => refusals.push(refusal),
      onEnded: (ending) => endings.push(ending),
    },
  );

  await until(() => refusals.length === 1, "the refusal");
  assert.equal(endings.length, 15);
  assert.ok(endings.every(({ reason, code }) => reason === "lost" && code === 408));
  assert.ok(refusals[0] instanceof SekringRefused);
  assert.deepEqual([refusals[0].state, refusals[0].cause], ["open", "failures"]);
  assert.ok(refusals[0].retryAfterMs > 500_000);
  const told = await service.instance(instanceId);
  assert.deepEqual([told.state, told.failures, told.suppressed], ["open", 15, 0]);
  assert.ok(told.last_failure_detail.includes("WebSocket Error"));

  reachable = true;
  await service.reset(instanceId);

  await until(async () => (await service.instance(instanceId)).connection === "connected", "it");
  assert.equal((await service.instance(instanceId)).state, "closed");
  assert.equal((await session.stop()).reason, "ended");
  assert.equal((await service.instance(instanceId)).connection, "");
});

test("the loop goes on by itself when the cooldown is over", async () => {
  const instanceId = fresh();
  await service.ask("PUT", `/v1/instances/${instanceId}/policy`, {
    failure_threshold: 3,
    cooldown_ms: 300,
  });
  const way = await door("refuse");
  let tries = 0;
  const session = connectGuarded(() => (tries++, socketTo(way.url)), { sekring, instanceId });

  await until(() => tries > 3, "an attempt after the cooldown");

  await session.stop();
  const { transitions } = await service.ask("GET", `/v1/instances/${instanceId}/history`);
  const actions = transitions.map(({ action }) => action);
  assert.ok(actions.includes("trip") && actions.includes("recover"), String(actions));
});

test("the loop ends where a person is needed, and says why", async () => {
  for (const [happens, reason] of [
    [(s) => stanzas.stream(s, 401, "conflict"), "needs_person"],
    [(s) => stanzas.stream(s, 0, "conflict"), "conflict"],
    [(s) => stanzas.qrOver(s), "unpaired"],
  ]) {
    const [instanceId, { url }] = [fresh(), await door("open")];
    const makeSocket = () => {
      const socket = socketTo(url, PATIENT);
      socket.ws.on("open", () => happens(socket));
      return socket;
    };

    const ending = await connectGuarded(makeSocket, { sekring, instanceId }).ended;

    assert.equal(ending.reason, reason);
    if (reason !== "needs_person") continue;
    const again = await connectGuarded(makeSocket, { sekring, instanceId }).ended;
    assert.deepEqual([again.reason, again.error.cause], ["needs_person", "logged_out"]);
    assert.match(again.detail, /until a person has acted/);
  }
});

test("after a restart that WhatsApp asks for, the loop connects again", async () => {
  const [instanceId, { url }] = [fresh(), await door("open")];
  let tries = 0;
  const session = connectGuarded(
    () => {
      tries += 1;
      const socket = socketTo(url, PATIENT);
      if (tries === 1) socket.ws.on("open", () => stanzas.stream(socket, 515, "x"));
      return socket;
    },
    { sekring, instanceId },
  );

  await until(() => tries === 2, "the second socket");

  await session.stop();
  assert.equal((await service.instance(instanceId)).failures, 0);
});

test("a loop that is not to wait ends with the refusal", async () => {
  const instanceId = fresh();
  await service.ask("POST", `/v1/instances/${instanceId}/trip`, {
    reason: "by hand",
    for_ms: 60_000,
  });
  const options = { sekring, instanceId, whenRefused: "stop" };

  const ending = await connectGuarded(() => assert.fail("connected"), options).ended;

  assert.deepEqual([ending.reason, ending.error.reason], ["refused", "by hand"]);
});

test("a maker of sockets that throws is a failure, and a waiting loop can be stopped", async () => {
  const instanceId = fresh();
  await service.ask("PUT", `/v1/instances/${instanceId}/policy`, {
    failure_threshold: 2,
    backoff: { base_ms: 5, cap_ms: 5 },
  });
  let refused = false;
  const session = connectGuarded(
    () => {
      throw new Error("no credentials");
    },
    { sekring, instanceId, onRefused: () => (refused = true) },
  );
  await until(() => refused, "the refusal");

  assert.equal((await session.stop()).reason, "ended");

  const told = await service.instance(instanceId);
  assert.deepEqual([told.state, told.last_failure_detail], ["open", "no credentials"]);
});

test("a loop of a client that is closed ends, and nothing is thrown", async () => {
  const closed = new Sekring({ url: service.url, logger: new Log() });
  await closed.close();

  const { reason, error } = await connectGuarded(() => {}, { sekring: closed, instanceId: "a" })
    .ended;

  assert.deepEqual([reason, error.name], ["failed", "SekringClosed"]);
  const options = { sekring, instanceId: "a b" };
  assert.throws(() => connectGuarded(() => {}, options), { field: "instance_id" });
});
