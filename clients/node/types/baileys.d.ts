/** @import { Attempt } from "./attempt.js" */
/** @import { MakeSocket, SessionOptions } from "./guardedsession.js" */
/** @import { BaileysSocket } from "./guardedsocket.js" */
/** @import { Sekring } from "./sekring.js" */
/**
 * Report what happens to a socket of Baileys. Call it right after `makeWASocket`.
 * @param {BaileysSocket} socket
 * @param {{ sekring: Sekring, instanceId: string, attempt?: Attempt }} options `attempt`: the permit
 *   under which it connects; without one it is reported all the same
 * @returns {GuardedSocket}
 */
export function guardBaileys(socket: BaileysSocket, { sekring, instanceId, attempt }: {
    sekring: Sekring;
    instanceId: string;
    attempt?: Attempt;
}): GuardedSocket;
/**
 * Keep a session connected: ask before every `makeWASocket`, wait as long as the breaker
 * recommends, report how it ended, and again; until a person is needed, or `stop()` is called.
 *
 * `makeSocket` makes one socket, and whatever belongs to it (its listeners, `creds.update` first).
 * @param {MakeSocket} makeSocket
 * @param {SessionOptions} options
 * @returns {GuardedSession}
 */
export function connectGuarded(makeSocket: MakeSocket, options: SessionOptions): GuardedSession;
import type { BaileysSocket } from "./guardedsocket.js";
import type { Sekring } from "./sekring.js";
import type { Attempt } from "./attempt.js";
import { GuardedSocket } from "./guardedsocket.js";
import type { MakeSocket } from "./guardedsession.js";
import type { SessionOptions } from "./guardedsession.js";
import { GuardedSession } from "./guardedsession.js";
