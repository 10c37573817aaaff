/** Server-Sent Events, however the network cuts them. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventParser } from "../src/eventstream.js";

const STREAM =
  "retry: 250\n: transitions of Sekring's circuit breakers\n\n" +
  "id: one\n\n" +
  'id: two\nevent: transition\ndata: {"instance_id":"ä"}\n\n' +
  ": heartbeat\n\n" +
  "event: gap\r\ndata: first\r\ndata:second\r\nid: three\r\n\r\n" +
  "data: without a name or an id\n\n" +
  "id: four\n\n" +
  "id: five\ndata: cut off";

/** What a stream that comes in such pieces tells. */
function told(pieces, lastId) {
  const seen = [];
  const parser = new EventParser(
    lastId,
    ({ event, data }) => seen.push([event, data, parser.lastId]),
    () => seen.push(["at", parser.lastId]),
  );
  for (const piece of pieces) parser.take(piece);
  return { seen, lastId: parser.lastId, retryMs: parser.retryMs };
}

test("events come as they were sent, and an id counts once its event was taken", () => {
  assert.deepEqual(told([STREAM], "zero"), {
    seen: [
      ["at", "one"],
      ["transition", '{"instance_id":"ä"}', "one"],
      ["gap", "first\nsecond", "two"],
      ["message", "without a name or an id", "three"],
      ["at", "four"],
    ],
    lastId: "four",
    retryMs: 250,
  });
});

test("it makes no difference where the stream is cut", () => {
  const whole = told([STREAM]);
  for (let place = 0; place <= STREAM.length; place++)
    assert.deepEqual(told([STREAM.slice(0, place), STREAM.slice(place)]), whole);
  assert.deepEqual(told([...STREAM]), whole);
});

test("a stream that was cut off in an event goes on before it", () => {
  assert.equal(told(["id: one\n\n", "id: two\nevent: transition\ndata: {}\n"]).lastId, "one");
});

test("a line without an end is not kept for ever", () => {
  const parser = new EventParser(undefined, assert.fail, assert.fail);
  assert.throws(() => {
    for (let count = 0; count < 2_000; count++) parser.take("x".repeat(1_024));
  }, /too long/);
});
