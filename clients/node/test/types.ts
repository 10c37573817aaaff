// Compiled, never run: the types as an author in TypeScript meets them, with Baileys' own.

import { makeWASocket, type AuthenticationState } from "@whiskeysockets/baileys";
import {
  Sekring,
  SekringRefused,
  connectGuarded,
  guardBaileys,
  type Attempt,
  type Ending,
  type Verdict,
} from "sekring";

declare const auth: AuthenticationState;

const sekring = new Sekring({ url: new URL("http://localhost:8000"), reportsMax: 100 });
const instanceId = "6281234567890";

const session = connectGuarded(() => makeWASocket({ auth }), {
  sekring,
  instanceId,
  whenRefused: "wait",
  onRefused: ({ retryAfterMs, cause }: SekringRefused) => [retryAfterMs, cause],
});
const ending: Ending = await session.ended;
const endedBy: "conflict" | undefined = ending.reason === "conflict" ? ending.reason : undefined;

const attempt: Attempt = await sekring.permit(instanceId, { strong: true });
const guarded = guardBaileys(makeWASocket({ auth }), { sekring, instanceId, attempt });
const verdict: Verdict | undefined = (await guarded.ended).verdict;

const page: string = await sekring.guard(instanceId, async (permitted) => {
  const wait: number = permitted.backoffMs;
  return `${wait}`;
});
sekring.on("transition", ({ instance_id: name, after }) => [name.length, after === "open"]);
sekring.on("degraded", (error) => error.message);

// @ts-expect-error an outcome has a name
sekring.report(instanceId, { kind: "dns" });
// @ts-expect-error no protocol of ours
attempt.failed({ protocol: "telnet", code: 1 });
// @ts-expect-error no socket of Baileys'
guardBaileys({}, { sekring, instanceId });

export { endedBy, page, verdict };
