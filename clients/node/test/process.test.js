/** What the client does to the process that it is in: nothing, unless it is asked to. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";

import { Service, freePort, until } from "./service.js";

const service = new Service();

before(() => service.start());
after(() => service.stop());

/** Run a script that has `Sekring` and `url`; what it wrote, and how it ended by itself. */
async function run(script, url = service.url) {
  const program = `
    import { Sekring } from ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
    const url = ${JSON.stringify(url)};
    ${script}`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err] = [[], []];
  child.stdout.on("data", (data) => out.push(data));
  child.stderr.on("data", (data) => err.push(data));
  const code = await new Promise((resolve) => child.once("close", resolve));
  return { code, out: Buffer.concat(out).toString().trim(), err: Buffer.concat(err).toString() };
}

/** The script's own patience, which does not hold up its process. */
const LATER = (what) => `setTimeout(() => console.log(${JSON.stringify(what)}), 2_000).unref();`;

test("a client that is never closed holds up no process", async () => {
  const { code, out } = await run(`
    const sekring = new Sekring({ url });
    await sekring.permit("a");
    while (!sekring.current) await new Promise((resolve) => setTimeout(resolve, 10));
    await sekring.report("a", { outcome: "success" });
    ${LATER("held up")}
  `);

  assert.deepEqual([code, out], [0, ""]);
});

test("nor does one whose service is away", async () => {
  const { code, out, err } = await run(
    `
    const sekring = new Sekring({ url });
    const attempt = await sekring.permit("a");
    attempt.failed({ kind: "dns" });
    console.log(sekring.degraded);
    ${LATER("held up")}
  `,
    `http://localhost:${await freePort()}`,
  );

  assert.deepEqual([code, out], [0, "true"]);
  assert.match(err, /Deciding by the policy in force/);
});

test("what was reported last arrives, although nobody waits for it", async () => {
  const { code } = await run(`
    new Sekring({ url }).report("last", { outcome: "failure", kind: "dns" });
  `);

  assert.equal(code, 0);
  assert.equal((await service.instance("last")).failures, 1);
});

test("one that is to keep its process alive does so until it is closed", async () => {
  const script = (options) => `
    const sekring = new Sekring({ url, ${options} });
    const close = () => sekring.close().then(() => console.log("closed"));
    sekring.once("live", () => setTimeout(close, 200).unref());
  `;

  assert.equal((await run(script("keepProcessAlive: true"))).out, "closed");
  assert.equal((await run(script(""))).out, "");
});

test("nothing that goes wrong is an unhandled rejection", async () => {
  const away = `http://localhost:${await freePort()}`;
  const { code, out, err } = await run(`
    const quiet = { info() {}, warn() {}, error() {} };
    const [here, away] = [url, ${JSON.stringify(away)}].map(
      (where) => new Sekring({ url: where, logger: quiet, timeoutMs: 500 }),
    );
    for (const sekring of [here, away]) {
      sekring.report("a b", { outcome: "failure" });
      sekring.report("a", { outcome: "lost" });
      sekring.report("a", { outcome: "failure", epoch: -1 });
      const attempt = await sekring.permit("a");
      attempt.failed(new Error("x"));
      attempt.failed({ kind: "no such kind" });
      sekring.on("transition", () => { throw new Error("a listener's own"); });
      sekring.on("degraded", () => { throw new Error("a listener's own"); });
      await sekring.close({ timeoutMs: 100 });
      attempt.disconnected();
      sekring.report("a", { outcome: "failure" });
    }
    console.log("done");
  `);

  assert.deepEqual([code, out, err], [0, "done", ""]);
});

test("a loop that waits for its backoff is what its process waits for", async () => {
  await service.ask("PUT", "/v1/instances/slow/policy", { backoff: { base_ms: 500, jitter: 0 } });
  const { code, out } = await run(`
    const sekring = new Sekring({ url });
    await sekring.report("slow", { outcome: "failure", kind: "dns" });
    console.log(await sekring.guard("slow", () => "connected"));
  `);

  assert.deepEqual([code, out], [0, "connected"]);
  await until(
    async () => (await service.instance("slow")).connection === "connected",
    "the report",
  );
});
