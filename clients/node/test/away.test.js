/** The service is away: decisions are kept, nothing is lost, and all of it is said. */

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { after, afterEach, before, test } from "node:test";

import { Sekring } from "../src/index.js";
import { Proxy } from "./proxy.js";
import { Log, QUICK_POLICY, Service, freePort, until } from "./service.js";

const service = new Service();
const opened = [];
let number = 0;

before(async () => {
  await service.start();
  await service.setPolicy(QUICK_POLICY);
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

const fresh = () => `session-${++number}`;
const failure = { outcome: "failure", kind: "timeout" };

/** Have the service be gone while `meanwhile` runs: killed, or stopped with its sockets open. */
async function away(how, meanwhile) {
  if (how === "killed") await service.kill();
  else service.signal("SIGSTOP");
  try {
    await meanwhile();
  } finally {
    if (how === "killed") await service.start();
    else service.signal("SIGCONT");
  }
}

for (const how of ["killed", "stopped"]) {
  test(`while the service is ${how}, the policy in force decides; it learns everything`, async () => {
    const sekring = client({ timeoutMs: 1_000 });
    const [tripping, failing, open] = [fresh(), fresh(), fresh()];
    await service.ask("PUT", `/v1/instances/${tripping}/policy`, { failure_threshold: 4 });
    await service.ask("POST", `/v1/instances/${open}/trip`, { reason: "maintenance" });
    await sekring.report(tripping, failure);
    await sekring.permit(tripping);
    await until(async () => sekring.current && !(await sekring.permitted(open)), "the view");
    const degraded = [];
    sekring.on("degraded", (error) => degraded.push(error.message));

    await away(how, async () => {
      const attempt = await sekring.permit(tripping);
      assert.deepEqual([attempt.degraded, attempt.failures], [true, 1]);
      const verdicts = [await attempt.failed({ kind: "dns" })];
      for (let time = 0; time < 2; time++) verdicts.push(await sekring.report(tripping, failure));
      assert.deepEqual(
        verdicts.map(({ why, failures, tripped, degraded: alone }) => [
          why,
          failures,
          tripped,
          alone,
        ]),
        [
          ["counted", 2, false, true],
          ["counted", 3, false, true],
          ["counted", 4, true, true],
        ],
      );
      await assert.rejects(sekring.permit(tripping), { cause: "failures", degraded: true });
      await assert.rejects(sekring.permit(open), { reason: "maintenance", degraded: true });
      for (let time = 0; time < 3; time++) await sekring.report(failing, failure);
      assert.equal(await sekring.permitted(failing), true);
      assert.deepEqual([sekring.degraded, sekring.waiting, degraded.length], [true, 6, 1]);
    });
    await until(() => !sekring.degraded, "the service");

    assert.deepEqual([sekring.waiting, sekring.dropped], [0, 0]);
    const tripped = await service.instance(tripping);
    assert.deepEqual([tripped.state, tripped.failures], ["open", 4]);
    assert.equal((await service.instance(failing)).failures, 3);
    await assert.rejects(sekring.permit(tripping), { state: "open", degraded: false });
    assert.equal((await sekring.permit(failing)).degraded, false);
  });
}

test("under load, no report is lost or counted twice, and no call waits for ever", async () => {
  const sekring = client({ timeoutMs: 1_000 });
  const ids = Array.from({ length: 20 }, fresh);
  for (const id of ids)
    await service.ask("PUT", `/v1/instances/${id}/policy`, { failure_threshold: 10_000 });
  for (const id of ids) await sekring.permit(id);
  const told = new Map(ids.map((id) => [id, 0]));
  let running = true;
  const load = ids.map(async (id) => {
    while (running) {
      const error = Object.assign(new Error("x"), { code: "EPIPE" });
      await assert.rejects(
        sekring.guard(id, () => Promise.reject(error)),
        { message: "x" },
      );
      told.set(id, told.get(id) + 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  const sum = () => [...told.values()].reduce((one, other) => one + other, 0);
  const more = async (count, what) => {
    const before = sum();
    await until(() => sum() > before + count, what);
  };
  try {
    await more(100, "some load");
    await away("killed", async () => {
      await until(() => sekring.degraded, "the service to be missed");
      await more(200, "load without the service");
    });
    await until(() => !sekring.degraded, "the service");
    await more(100, "load with the service");
  } finally {
    running = false;
    await Promise.all(load);
  }
  await until(() => sekring.waiting === 0, "the last report");

  assert.equal(sekring.dropped, 0);
  for (const [id, count] of told) assert.equal((await service.instance(id)).failures, count, id);
});

test("a report keeps its age while it waits", async () => {
  const sekring = client({ timeoutMs: 1_000 });
  const id = fresh();
  await sekring.permit(id);
  let waited = 0;
  await away("killed", async () => {
    await sekring.report(id, failure);
    const began = Date.now();
    await until(() => Date.now() - began > 1_500, "some time");
    waited = Date.now() - began;
  });
  await until(() => !sekring.degraded, "the service");

  const {
    recent_failures: [counted],
    now_ms: now,
  } = await service.instance(id);
  assert.ok(
    now - counted.at_ms >= waited,
    "the failure is dated when it came, not when it happened",
  );
});

test("what was decided alone gives way to what an operator did meanwhile", async () => {
  const proxy = await new Proxy(service).open();
  opened.push(proxy);
  const sekring = client({ url: proxy.url, timeoutMs: 500 });
  const id = fresh();
  await sekring.report(id, failure);
  proxy.shut();
  for (let time = 0; time < 14; time++) await sekring.report(id, failure);
  await assert.rejects(sekring.permit(id), { cause: "failures", degraded: true });
  // A report's age is without its own way to the service: what lies closer is not told apart.
  await sleep(3_000);

  await service.reset(id);
  proxy.reopen();
  await until(() => !sekring.degraded, "the service");

  const { state, failures } = await service.instance(id);
  assert.deepEqual([state, failures], ["closed", 0]);
  assert.equal((await sekring.permit(id)).degraded, false);
});

test("too many reports: the oldest are given up, counted, and it is said", async () => {
  const log = new Log();
  const sekring = client({ timeoutMs: 1_000, reportsMax: 10, logger: log });
  const dropped = [];
  sekring.on("dropped", (drop) => dropped.push(drop));
  const id = fresh();
  await service.ask("PUT", `/v1/instances/${id}/policy`, { failure_threshold: 1_000 });
  await sekring.permit(id);

  await away("killed", async () => {
    for (let time = 0; time < 25; time++) await sekring.report(id, failure);
    assert.deepEqual([sekring.waiting, sekring.dropped], [10, 15]);
  });
  await until(() => !sekring.degraded, "the service");

  assert.deepEqual([dropped.length, dropped[14].dropped, dropped[0].instanceId], [15, 15, id]);
  assert.match(log.lines.join("\n"), /a report on \S+ was dropped \(too many wait/);
  assert.equal((await service.instance(id)).failures, 10);
});

test("a client that begins before the service decides by the guide's policy", async () => {
  const late = new Service();
  late.port = await freePort();
  const sekring = new Sekring({ url: `http://localhost:${late.port}`, logger: new Log() });
  opened.push(sekring);
  const id = fresh();
  for (let time = 0; time < 15; time++)
    await (await sekring.permit(id)).failed({ kind: "refused" });
  await assert.rejects(sekring.permit(id), { cause: "failures", failures: 15, degraded: true });

  try {
    await late.start();
    await until(() => !sekring.degraded, "the service");

    assert.equal((await late.instance(id)).state, "open");
    await assert.rejects(sekring.permit(id), { degraded: false });
  } finally {
    await late.stop();
  }
});

test("a client closed while the service is away says how many reports it has lost", async () => {
  const sekring = client({ timeoutMs: 500 });
  await away("stopped", async () => {
    await sekring.report(fresh(), failure);
    await sekring.report(fresh(), failure);

    assert.deepEqual(await sekring.close({ timeoutMs: 200 }), { unsent: 2 });
  });
});

test("what is away and back is said once each", async () => {
  const log = new Log();
  const sekring = client({ timeoutMs: 1_000, logger: log });
  await away("killed", () => sekring.permit(fresh()));
  await until(() => !sekring.degraded, "the service");

  assert.equal(log.lines.length, 2);
  assert.match(log.lines[0], /cannot be reached: .*Deciding by the policy in force/);
  assert.match(log.lines[1], /is back and decides again/);
});
