/**
 * Baileys under the breaker: `guardBaileys` reports what a socket goes through, `connectGuarded` is
 * the loop around `makeWASocket`.
 */

import { GuardedSession } from "./guardedsession.js";
import { GuardedSocket } from "./guardedsocket.js";
import { instanceId as checkedId } from "./ids.js";

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
export function guardBaileys(socket, { sekring, instanceId, attempt }) {
  return new GuardedSocket(socket, attempt ?? sekring.adopt(instanceId));
}

/**
 * Keep a session connected: ask before every `makeWASocket`, wait as long as the breaker
 * recommends, report how it ended, and again; until a person is needed, or `stop()` is called.
 *
 * `makeSocket` makes one socket, and whatever belongs to it (its listeners, `creds.update` first).
 * @param {MakeSocket} makeSocket
 * @param {SessionOptions} options
 * @returns {GuardedSession}
 */
export function connectGuarded(makeSocket, options) {
  checkedId(options.instanceId);
  return new GuardedSession(makeSocket, options);
}
