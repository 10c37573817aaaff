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
import type { Attempt } from "./attempt.js";
import type { Verdict } from "./model.js";
