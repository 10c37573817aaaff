/** What the README shows is what lies in examples/, and it runs. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

import { QUICK_POLICY, Service, until } from "./service.js";

const ROOT = new URL("..", import.meta.url);
const INSTANCE = "6281234567890";
const service = new Service({ qr_wait_ms: 2_000 });
let folder;

before(async () => {
  folder = await mkdtemp(`${tmpdir()}/sekring-example-`);
  await service.start();
  await service.setPolicy(QUICK_POLICY);
});
after(async () => {
  await service.stop();
  await rm(folder, { recursive: true });
});

/** Start an example as a user does, on a machine that nothing leaves. */
function start(name, ...words) {
  const preload = new URL("nowayout.js", import.meta.url).href;
  const file = fileURLToPath(new URL(`examples/${name}`, ROOT));
  const child = spawn(process.execPath, ["--import", preload, file, ...words], {
    cwd: folder,
    env: { ...process.env, SEKRING_URL: service.url },
  });
  const running = { child, out: "" };
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data) => (running.out += data));
  running.ended = new Promise((resolve) => child.once("close", resolve));
  return running;
}

async function run(name, ...words) {
  const running = start(name, ...words);
  const code = await running.ended;
  return { code, out: running.out };
}

test("the README shows the examples as they are", async () => {
  const readme = await readFile(new URL("README.md", ROOT), "utf8");
  const shown = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, block]) => block);
  const files = await readdir(new URL("examples/", ROOT));
  const there = files.map((name) => readFile(new URL(`examples/${name}`, ROOT), "utf8"));

  assert.deepEqual(shown.sort(), (await Promise.all(there)).sort());
});

test("examples/guard.mjs: 15 connects fail for real, the next one is refused", async () => {
  for (let time = 0; time < 15; time++) {
    const { code, out } = await run("guard.mjs");
    assert.equal(code, 1);
    assert.match(out, /fetch failed/);
  }

  const { code, out } = await run("guard.mjs");

  assert.equal(code, 0);
  assert.match(out, /^6281234567890 may not connect now \(failures\): ask again in \d+ s\.$/m);
});

test("examples/waziper.mjs: the refusal, the reset by a QR request, and afterwards", async () => {
  // As the example before has left it: open.
  const refused = await run("waziper.mjs", "instance", INSTANCE);
  assert.match(
    refused.out,
    /^Please try again in 10 minutes\. \(Unable to create session: circuit/,
  );

  const asked = await run("waziper.mjs", "get_qrcode", INSTANCE);

  // No gateway lives here, which could show one; the request has reset the breaker all the same.
  assert.match(asked.out, /^Sorry: .*no gateway lives/);
  assert.equal((await service.instance(INSTANCE)).state, "closed");
  assert.doesNotMatch((await run("waziper.mjs", "instance", INSTANCE)).out, /try again/);
});

test("examples/attempt.mjs", async () => {
  const { code, out } = await run("attempt.mjs");

  assert.deepEqual([code, out.trim()], [0, "true"]);
  assert.equal((await service.instance(INSTANCE)).last_failure_detail, "no answer within 20 s");
});

test("examples/baileys.mjs: it trips, goes on after a reset, and ends for a person", async () => {
  await service.ask("PUT", `/v1/instances/${INSTANCE}/policy`, { failure_threshold: 3 });
  await service.reset(INSTANCE);
  const running = start("baileys.mjs");
  await until(() => /may not connect now \(failures\)/.test(running.out), "the refusal");
  assert.equal(running.out.match(/^lost WebSocket Error \(connect ECONNREFUSED/gm).length, 3);

  await service.reset(INSTANCE);

  await until(
    () => running.out.match(/may not connect now \(failures\)/g).length === 2,
    "the next",
  );
  await service.reset(INSTANCE);
  await service.ask("POST", `/v1/instances/${INSTANCE}/trip`, { reason: "enough" });
  assert.equal(await running.ended, 0);
  assert.match(running.out, /^ended \(needs_person\): .*operator: enough/m);
});
