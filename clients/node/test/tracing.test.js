/** Whose trace requests and reports belong to: the one they are made in, then or later. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { trace } from "@opentelemetry/api";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

import { Sekring } from "../src/index.js";
import { Tracing } from "../src/tracing.js";
import { Proxy } from "./proxy.js";
import { Log, QUICK_POLICY, Service, until } from "./service.js";

const service = new Service();

before(async () => {
  new NodeTracerProvider().register();
  await service.start();
  await service.setPolicy({ ...QUICK_POLICY, stable_after_ms: 60_000 });
});
after(() => service.stop());
/** Do something in a new trace; return its id. */
function inTrace(work) {
  return trace.getTracer("the application").startActiveSpan("a trace", async (span) => {
    await work();
    span.end();
    return span.spanContext().traceId;
  });
}

async function fail(sekring, id, times) {
  for (let n = 0; n < times; n += 1) sekring.report(id, { outcome: "failure", kind: "dns" });
}

/** The trace of the trip, as the audit trail has it. */
async function traceOfTrip(id) {
  const { transitions } = await service.ask("GET", `/v1/instances/${id}/history`);
  return transitions.find(({ action }) => action === "trip")?.trace_id;
}

test("a report that is sent later, with others, keeps the trace it was made in", async () => {
  const sekring = new Sekring({ url: service.url, logger: new Log(), flushAfterMs: 100 });

  const one = await inTrace(() => fail(sekring, "s1", 15));
  const other = await inTrace(() => fail(sekring, "s2", 15));
  await fail(sekring, "s3", 15);
  await sekring.close();

  assert.equal(await traceOfTrip("s1"), one);
  assert.equal(await traceOfTrip("s2"), other);
  assert.ok(![one, other].includes(await traceOfTrip("s3")));
});

test("a request takes its caller's trace along; what the client does by itself, none", async (t) => {
  const proxy = await new Proxy(service).open();
  t.after(() => proxy.close());

  const traceId = await inTrace(async () => {
    const sekring = new Sekring({ url: proxy.url, logger: new Log() });
    await until(() => sekring.current, "the stream");
    await sekring.permit("s4");
    await sekring.report("s4", { outcome: "failure" });
    await sekring.close();
  });

  const traced = proxy.heads.filter((head) => head.includes("traceparent:"));
  assert.ok(proxy.count("GET /v1/events") && proxy.count("POST /v1/outcomes"));
  assert.deepEqual(
    traced.map((head) => head.split(" ", 2).join(" ")),
    ["POST /v1/instances/s4/attempts", "GET /v1/instances/s4/policy"],
  );
  for (const head of traced)
    assert.match(head, new RegExp(`traceparent: 00-${traceId}-[0-9a-f]{16}-01`));
});

test("without OpenTelemetry there is no trace", () => {
  const untraced = new Tracing(null);

  return inTrace(() => {
    assert.deepEqual([untraced.traceparent(), untraced.headers()], [undefined, {}]);
    assert.equal(
      untraced.outside(() => "done"),
      "done",
    );
    assert.ok(new Tracing().traceparent());
  });
});
