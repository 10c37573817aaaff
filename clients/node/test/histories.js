/**
 * Plays histories on the client's breaker, for a comparison with the service's: one JSON object a
 * line, answered by the list of what the breaker said to each step.
 */

import { createInterface } from "node:readline";

import { Breaker } from "../src/breaker.js";

for await (const line of createInterface({ input: process.stdin })) {
  const { policy, begin, steps } = JSON.parse(line);
  const breaker = Object.assign(new Breaker(policy), begin);
  const answers = steps.map(({ clock, chance, token, told }) => {
    const answer =
      told === undefined
        ? breaker.permit("a", token, clock, chance)
        : breaker.report("a", told, clock, chance);
    return { answer, memory: memoryOf(breaker) };
  });
  process.stdout.write(`${JSON.stringify(answers)}\n`);
}

/** What it remembers, in the service's names. */
function memoryOf(breaker) {
  return {
    terminal: breaker.terminal,
    ban_until: breaker.banUntil,
    window: Object.fromEntries([...breaker.window].map(([id, { at }]) => [id, at])),
    reporters: Object.fromEntries(breaker.reporters),
    probing: Object.fromEntries(breaker.probing),
    proving: Object.fromEntries(breaker.proving),
    connection: breaker.connection,
    connection_since: breaker.connectionSince,
    proven: breaker.proven,
    attempts: breaker.attempts,
    level: breaker.level,
    closed: breaker.closed,
  };
}
