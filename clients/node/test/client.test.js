/** The client and a real service: the contract, its memory, its reports. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, afterEach, before, test } from "node:test";

import {
  Sekring,
  SekringClosed,
  SekringNotAllowed,
  SekringNotAuthenticated,
  SekringRefused,
} from "../src/index.js";
import { Proxy } from "./proxy.js";
import { Log, QUICK_POLICY, Service, newToken, until } from "./service.js";

const service = new Service();
const opened = [];
let number = 0;

before(async () => {
  await service.start();
  await service.setPolicy({ ...QUICK_POLICY, stable_after_ms: 60_000 });
});
after(() => service.stop());
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

function client(options = {}) {
  const sekring = new Sekring({ url: service.url, logger: new Log(), ...options });
  opened.push(sekring);
  return sekring;
}

async function proxied(options = {}) {
  const proxy = await new Proxy(service).open();
  opened.push(proxy);
  const sekring = client({ url: proxy.url, ...options });
  await until(() => sekring.current, "the stream");
  return { proxy, sekring };
}

const fresh = () => `session-${++number}`;

async function failures(sekring, id, count) {
  const told = Array.from({ length: count }, () => sekring.report(id, { outcome: "failure" }));
  return Promise.all(told);
}

/** A token as `SEKRING_TOKENS` has it. */
const entryOf = ({ entry: { name, role, hash } }) => `${name}=${role}:${hash}`;

// ------------------------------------------------------------------------ attempts, outcomes

test("an attempt is permitted, its failure counts, and the next one is to wait", async () => {
  const [sekring, id] = [client(), fresh()];

  const attempt = await sekring.permit(id);
  const verdict = await attempt.failed({ kind: "dns", detail: "no such host" });
  const next = await sekring.permit(id);

  assert.deepEqual([attempt.instanceId, attempt.state, attempt.backoffMs], [id, "closed", 0]);
  assert.match(attempt.id, /^[0-9a-f]+-[\w-]{8}$/);
  assert.deepEqual([verdict.why, verdict.failures, verdict.threshold], ["counted", 1, 15]);
  assert.deepEqual([next.backoffMs, next.failures, next.degraded], [10, 1, false]);
  assert.equal((await service.instance(id)).last_failure_detail, "no such host");
});

test("the 15th failure opens the breaker, once; the refusal says why and until when", async () => {
  const [sekring, id] = [client(), fresh()];

  const verdicts = await failures(sekring, id, 15);

  assert.equal(verdicts.filter(({ tripped }) => tripped).length, 1);
  await assert.rejects(sekring.permit(id), (error) => {
    assert.ok(error instanceof SekringRefused);
    assert.deepEqual([error.state, error.cause, error.failures], ["open", "failures", 15]);
    assert.ok(error.retryAfterMs > 500_000 && error.retryAfterMs <= 600_000);
    assert.equal(error.needsPerson, false);
    assert.match(error.message, /may not connect now \(failures\): ask again in \d+ s\./);
    return true;
  });
});

test("what was permitted before a reset is late afterwards", async () => {
  const [sekring, id] = [client(), fresh()];
  await failures(sekring, id, 1);
  const attempt = await sekring.permit(id);
  await service.reset(id);

  const verdict = await attempt.failed({ kind: "timeout" });

  assert.deepEqual([verdict.why, verdict.failures], ["late", 0]);
  assert.ok(verdict.epoch > attempt.epoch);
});

test("an attempt tells each of its ends once", async () => {
  const [sekring, id] = [client(), fresh()];
  const attempt = await sekring.permit(id);

  await Promise.all([attempt.connected(), attempt.connected()]);
  assert.equal((await service.instance(id)).connection, "connected");
  const [first, second] = await Promise.all([attempt.failed(), attempt.disconnected()]);

  assert.deepEqual(first, second);
  assert.equal((await service.instance(id)).failures, 1);
  assert.equal(attempt.stage, "ended");
});

test("an instance that a person has to pair anew is refused without a time", async () => {
  const [sekring, id] = [client(), fresh()];
  await sekring.report(id, { outcome: "failure", protocol: "baileys", code: 401 });

  await assert.rejects(sekring.permit(id), {
    name: "SekringRefused",
    cause: "logged_out",
    retryAfterMs: null,
    needsPerson: true,
  });
});

// ------------------------------------------------------------------------------------- guard

test("a guarded connect that throws is a failure of the kind that its error tells", async () => {
  const sekring = client();
  for (const [error, kind] of [
    [Object.assign(new Error("a"), { code: "ENOTFOUND" }), "dns"],
    [new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } }), "refused"],
    [AbortSignal.timeout(0).reason ?? new DOMException("late", "TimeoutError"), "timeout"],
    [Object.assign(new Error("a"), { code: "CERT_HAS_EXPIRED" }), "tls"],
    [Object.assign(new Error("a"), { output: { statusCode: 428 } }), "disconnected"],
    ["not even an error", "unknown"],
  ]) {
    const id = fresh();
    await assert.rejects(
      sekring.guard(id, () => Promise.reject(error)),
      (thrown) => thrown === error,
    );
    await until(() => sekring.waiting === 0, "the report");
    assert.equal((await service.instance(id)).last_failure_kind, kind);
  }
});

test("a guarded connect gives what it returns, and is a success", async () => {
  const [sekring, id] = [client(), fresh()];
  let attempt;

  const socket = await sekring.guard(id, async (permitted) => ((attempt = permitted), "socket"));

  assert.equal(socket, "socket");
  await until(async () => (await service.instance(id)).connection === "connected", "it");
  assert.equal((await attempt.failed({ kind: "stream_error" })).why, "counted");
});

test("a guard around a connection's whole life ends with it", async () => {
  const [sekring, id] = [client(), fresh()];

  await sekring.guard(id, (attempt) => attempt.connected());

  await until(async () => (await service.instance(id)).connection === "", "its end");
  assert.equal((await service.instance(id)).failures, 0);
});

test("a guard runs nothing while the breaker refuses, nor after it was called off", async () => {
  const [sekring, id] = [client(), fresh()];
  await service.ask("POST", `/v1/instances/${id}/trip`, { reason: "maintenance" });
  const never = () => assert.fail("connected");

  await assert.rejects(sekring.guard(id, never), { reason: "maintenance", state: "forced_open" });

  const slow = fresh();
  await service.ask("PUT", `/v1/instances/${slow}/policy`, {
    backoff: { base_ms: 60_000, cap_ms: 60_000 },
  });
  await failures(sekring, slow, 1);
  const off = new AbortController();
  const guarded = sekring.guard(slow, never, { signal: off.signal });
  await until(async () => (await service.instance(slow)).connection === "connecting", "the wait");
  off.abort();
  await assert.rejects(guarded, { name: "AbortError" });
  await until(async () => (await service.instance(slow)).connection === "", "the attempt's end");
  assert.equal((await service.instance(slow)).failures, 1);
});

// ------------------------------------------------------------------------------------ memory

test("refusals are answered from memory until the breaker changes", async () => {
  const [{ proxy, sekring }, id] = [await proxied(), fresh()];
  await service.ask("POST", `/v1/instances/${id}/trip`, { reason: "by hand" });
  await assert.rejects(sekring.permit(id), SekringRefused);
  await until(async () => !(await sekring.permitted(id)), "the event");
  const asked = proxy.count("POST");

  for (let time = 0; time < 50; time++)
    await assert.rejects(sekring.permit(id), { reason: "by hand", state: "forced_open" });

  assert.ok(proxy.count("POST") <= asked + 1, "each refusal was asked for");
  await service.reset(id);
  await until(() => sekring.permitted(id), "the reset");
  assert.equal((await sekring.permit(id)).state, "closed");
});

test("what another client did is known from memory, with its reason", async () => {
  const id = fresh();
  await service.ask("POST", `/v1/instances/${id}/trip`, { reason: "before it began" });
  const { proxy, sekring } = await proxied();
  await until(() => proxy.count("GET /v1/instances?state=disabled") === 1, "the listing");
  await until(async () => !(await sekring.permitted(id)), "it");

  await assert.rejects(sekring.permit(id), { reason: "before it began", needsPerson: true });

  assert.equal(proxy.count("POST"), 0);
  assert.equal(proxy.count(`GET /v1/instances/${id} `), 0);
});

test("permits are the service's own word: its count of attempts, its fleet's pace", async () => {
  const [{ proxy, sekring }, id] = [await proxied(), fresh()];

  for (let time = 0; time < 3; time++) await sekring.permit(id);

  assert.equal(proxy.count(`POST /v1/instances/${id}/attempts`), 3);
  assert.equal((await service.instance(id)).retry_attempts, 2);
});

test("a stream that was cut off is resumed: nothing is missed, and nothing told twice", async () => {
  const [{ proxy, sekring }, id] = [await proxied(), fresh()];
  const told = [];
  sekring.on("transition", ({ instance_id: name, action }) => name === id && told.push(action));
  await service.ask("POST", `/v1/instances/${id}/trip`, { reason: "one" });
  await until(() => told.length === 1, "the first");

  proxy.cut();
  await service.reset(id);
  await service.ask("POST", `/v1/instances/${id}/trip`, { reason: "two" });

  await until(() => told.length >= 3, "what was missed");
  await until(() => sekring.current, "the stream");
  assert.deepEqual(told, ["force_open", "reset", "force_open"]);
});

test("a network that swallows everything is noticed: the service is asked", async () => {
  const options = { stalenessMs: 200, timeoutMs: 500 };
  const [{ proxy, sekring }, id] = [await proxied(options), fresh()];
  await service.ask("POST", `/v1/instances/${id}/trip`, { reason: "seen" });
  await until(async () => !(await sekring.permitted(id)), "it");

  proxy.freeze();
  await until(() => !sekring.current, "the silence to be noticed");
  await service.reset(id);
  proxy.thaw();

  await until(async () => sekring.permitted(id), "the reset");
});

test("a stream that is dead in silence is opened anew", async () => {
  const [{ proxy, sekring }, id] = [await proxied({ stalenessMs: 1_000 }), fresh()];
  const streams = proxy.count("GET /v1/events");

  proxy.freeze({ later: false });
  await service.ask("POST", `/v1/instances/${id}/trip`, { reason: "unheard" });

  await until(() => proxy.count("GET /v1/events") > streams, "another stream");
  await until(async () => sekring.current && !(await sekring.permitted(id)), "the trip");
});

// ----------------------------------------------------------------------------------- reports

test("reports go together, each with its own verdict, in the order of their making", async () => {
  const [{ proxy, sekring }, id] = [await proxied(), fresh()];
  await service.ask("PUT", `/v1/instances/${id}/policy`, { failure_threshold: 1_000 });

  const verdicts = await failures(sekring, id, 900);

  assert.deepEqual(
    verdicts.map((verdict) => verdict.failures),
    Array.from(verdicts, (_, i) => i + 1),
  );
  assert.ok(proxy.count("POST /v1/outcomes") <= 5);
  assert.equal((await service.instance(id)).failures, 900);
});

test("a report whose answer was lost is sent again, and counts once", async () => {
  const [{ proxy, sekring }, id] = [await proxied(), fresh()];
  proxy.loseAnswerTo("POST /v1/outcomes");

  await sekring.report(id, { outcome: "failure", kind: "tls" });
  await until(() => sekring.waiting === 0 && !sekring.degraded, "it to be taken");

  assert.ok(proxy.count("POST /v1/outcomes") >= 2);
  assert.equal((await service.instance(id)).failures, 1);
});

test("a bad report among others is refused by itself, and says which field", async () => {
  const [sekring, id] = [client(), fresh()];
  const bad = sekring.report(id, { outcome: "failure", epoch: -1 });

  const [good] = await failures(sekring, id, 1);

  await assert.rejects(bad, { name: "SekringInvalidInput", field: "epoch" });
  assert.equal(good.failures, 1);
  assert.equal(sekring.dropped, 1);
});

test("a report may be older than its making", async () => {
  const [sekring, id] = [client(), fresh()];

  const verdict = await sekring.report(id, { outcome: "failure", ageMs: 301_000 });

  assert.equal(verdict.why, "stale");
});

// --------------------------------------------------------------------------- what goes wrong

test("bad input is refused in words that name the field, before anything is sent", async () => {
  const [{ proxy, sekring }, id] = [await proxied(), fresh()];
  const asked = proxy.requests.length;
  for (const bad of ["", "a b", "a/b", "ä", "x".repeat(129), null, 5, undefined, {}])
    for (const call of [
      () => sekring.permit(bad),
      () => sekring.permitted(bad),
      () => sekring.report(bad, { outcome: "failure" }),
      () => sekring.guard(bad, () => {}),
    ])
      await assert.rejects(call, { name: "SekringInvalidInput", field: "instance_id" });
  for (const [outcome, field] of [
    [undefined, "outcome"],
    [{ outcome: "lost" }, "outcome"],
    [{ outcome: "failure", kind: "dsn" }, "kind"],
    [{ outcome: "success", kind: "dns" }, "kind"],
    [{ outcome: "failure", code: 401 }, "code"],
    [{ outcome: "failure", protocol: "baileys", code: 1.5 }, "code"],
    [{ outcome: "failure", protocol: "telnet", code: 1 }, "protocol"],
    [{ outcome: "failure", kind: "dns", protocol: "baileys", code: 1 }, "kind"],
    [{ outcome: "failure", ageMs: -1 }, "ageMs"],
    [{ outcome: "failure", id: "a b" }, "id"],
  ])
    await assert.rejects(sekring.report(id, outcome), { name: "SekringInvalidInput", field });
  for (const [options, field] of [
    [{ url: "nowhere" }, "url"],
    [{ url: "ftp://localhost" }, "url"],
    [{ url: service.url, timeoutMs: 0 }, "timeoutMs"],
    [{ url: service.url, gateway: "a b" }, "gateway"],
    [{ url: service.url, token: "a\r\nb" }, "token"],
  ])
    assert.throws(() => new Sekring(options), { name: "SekringInvalidInput", field });
  assert.equal(proxy.requests.length, asked);
});

test("names that look like steps of a path are instances as any", async () => {
  const sekring = client();
  for (const id of [".", "..", "a:b@c.d-e_f"]) {
    await (await sekring.permit(id)).failed({ kind: "dns" });
    assert.equal(await sekring.permitted(id), true);
  }
});

test("a token decides what may be done", async () => {
  const [gateway, viewer] = [await newToken("gateway"), await newToken("viewer")];
  const guarded = new Service({ tokens: [gateway, viewer].map(entryOf).join(" ") });
  await guarded.start();
  opened.push({ close: () => guarded.stop() });
  const { url } = guarded;

  assert.equal((await client({ url, token: gateway.token }).permit("a")).degraded, false);
  const reader = client({ url, token: viewer.token });
  assert.equal(await reader.permitted("a"), true);
  await assert.rejects(reader.permit("a"), SekringNotAllowed);
  await assert.rejects(reader.report("a", { outcome: "failure" }), SekringNotAllowed);
  const stranger = client({ url });
  await assert.rejects(stranger.permit("a"), SekringNotAuthenticated);
  await assert.rejects(stranger.report("a", { outcome: "failure" }), SekringNotAuthenticated);
  // The token is at fault, not the report: it waits until that is mended.
  assert.deepEqual([stranger.waiting, stranger.dropped, stranger.degraded], [1, 0, false]);
});

test("what answers at the service's address and is not the service is taken for none", async () => {
  const strange = createServer((request, response) => response.end("<html>Welcome</html>"));
  await new Promise((resolve) => strange.listen(0, "127.0.0.1", resolve));
  opened.push({ close: () => strange.close() });
  const log = new Log();
  const sekring = client({ url: `http://127.0.0.1:${strange.address().port}`, logger: log });

  const attempt = await sekring.permit(fresh());

  assert.equal(attempt.degraded, true);
  assert.match(log.lines[0], /is not the breaker service/);
});

test("a closed client has sent everything, and refuses what follows", async () => {
  const [sekring, id] = [client(), fresh()];
  sekring.report(id, { outcome: "failure" });

  assert.deepEqual(await sekring.close(), { unsent: 0 });

  assert.equal((await service.instance(id)).failures, 1);
  for (const call of [() => sekring.permit(id), () => sekring.report(id, { outcome: "failure" })])
    await assert.rejects(call, SekringClosed);
});
