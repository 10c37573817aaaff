/**
 * The part of Baileys' socket that is needed. `makeWASocket` returns one.
 * @typedef {object} BaileysSocket
 * @property {{
 *   on(event: "connection.update", listener: (update: any) => void): void,
 *   off(event: "connection.update", listener: (update: any) => void): void,
 * }} ev
 * @property {(error: Error | undefined) => unknown} end
 * @property {{ on(event: string, listener: (...met: any[]) => void): unknown }} [ws]
 */
/**
 * How a connection ended, and what follows from it:
 *
 * - `lost`: it failed; try again at the pace of `verdict`
 * - `restart`: WhatsApp asks for a new connection after pairing; connect again
 * - `banned`: until the ban ends
 * - `conflict`: another connection has replaced it: whoever owns the session goes on
 * - `needs_person`: logged out, locked or banned for good: pair it anew
 * - `outdated`: WhatsApp refuses this build of the gateway
 * - `unpaired`: nobody scanned its QR codes
 * - `logged_out`: this side has logged out
 * - `ended`: this side has ended it
 * - `refused`: the breaker refuses, and the loop was told not to wait
 * - `failed`: an error of the loop's own, such as a token that the service does not take
 * @typedef {object} Ending
 * @property {"lost" | "restart" | "banned" | "conflict" | "needs_person" | "outdated" | "unpaired"
 *   | "logged_out" | "ended" | "refused" | "failed"} reason
 * @property {string} detail in words, for a person
 * @property {number} [code] Baileys' `DisconnectReason`
 * @property {Verdict} [verdict] what the breaker made of it
 * @property {unknown} [error] what was thrown
 */
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
 * Keep a session connected: ask before every `makeWASocket`, wait as long as the breaker recommends,
 * report how it ended, and again; until a person is needed, or `stop()` is called.
 *
 * `makeSocket` makes one socket, and whatever belongs to it (its listeners, `creds.update` first).
 * @param {(attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>} makeSocket
 * @param {object} options
 * @param {Sekring} options.sekring
 * @param {string} options.instanceId
 * @param {"wait" | "stop"} [options.whenRefused] whether to wait while the breaker refuses, which is
 *   the default, or to end
 * @param {(refusal: SekringRefused) => void} [options.onRefused] is told of every refusal
 * @param {(ending: Ending) => void} [options.onEnded] is told of the end of every connection
 * @returns {GuardedSession}
 */
export function connectGuarded(makeSocket: (attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>, options: {
    sekring: Sekring;
    instanceId: string;
    whenRefused?: "wait" | "stop" | undefined;
    onRefused?: ((refusal: SekringRefused) => void) | undefined;
    onEnded?: ((ending: Ending) => void) | undefined;
}): GuardedSession;
/** A socket that is reported on. */
export class GuardedSocket {
    /**
     * @param {BaileysSocket} socket
     * @param {Attempt} attempt
     */
    constructor(socket: BaileysSocket, attempt: Attempt);
    /** How it ended; never rejects. @type {Promise<Ending>} */
    ended: Promise<Ending>;
    /**
     * End the connection: no failure.
     * @returns {Promise<Ending>}
     */
    end(): Promise<Ending>;
    #private;
}
/** A session that is kept connected. */
export class GuardedSession {
    /**
     * @param {(attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>} makeSocket
     * @param {Parameters<typeof connectGuarded>[1]} options
     */
    constructor(makeSocket: (attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>, options: Parameters<typeof connectGuarded>[1]);
    /** Why it ended; never rejects. @type {Promise<Ending>} */
    ended: Promise<Ending>;
    /**
     * End the connection, and connect no more.
     * @returns {Promise<Ending>}
     */
    stop(): Promise<Ending>;
    #private;
}
/**
 * The part of Baileys' socket that is needed. `makeWASocket` returns one.
 */
export type BaileysSocket = {
    ev: {
        on(event: "connection.update", listener: (update: any) => void): void;
        off(event: "connection.update", listener: (update: any) => void): void;
    };
    end: (error: Error | undefined) => unknown;
    ws?: {
        on(event: string, listener: (...met: any[]) => void): unknown;
    } | undefined;
};
/**
 * How a connection ended, and what follows from it:
 *
 * - `lost`: it failed; try again at the pace of `verdict`
 * - `restart`: WhatsApp asks for a new connection after pairing; connect again
 * - `banned`: until the ban ends
 * - `conflict`: another connection has replaced it: whoever owns the session goes on
 * - `needs_person`: logged out, locked or banned for good: pair it anew
 * - `outdated`: WhatsApp refuses this build of the gateway
 * - `unpaired`: nobody scanned its QR codes
 * - `logged_out`: this side has logged out
 * - `ended`: this side has ended it
 * - `refused`: the breaker refuses, and the loop was told not to wait
 * - `failed`: an error of the loop's own, such as a token that the service does not take
 */
export type Ending = {
    reason: "lost" | "restart" | "banned" | "conflict" | "needs_person" | "outdated" | "unpaired" | "logged_out" | "ended" | "refused" | "failed";
    /**
     * in words, for a person
     */
    detail: string;
    /**
     * Baileys' `DisconnectReason`
     */
    code?: number | undefined;
    /**
     * what the breaker made of it
     */
    verdict?: Verdict | undefined;
    /**
     * what was thrown
     */
    error?: unknown;
};
import type { Sekring } from "./sekring.js";
import type { Attempt } from "./attempt.js";
import { SekringRefused } from "./errors.js";
import type { Verdict } from "./model.js";
