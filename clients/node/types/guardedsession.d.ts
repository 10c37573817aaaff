/**
 * @typedef {object} SessionOptions
 * @property {Sekring} sekring
 * @property {string} instanceId
 * @property {"wait" | "stop"} [whenRefused] whether to wait while the breaker refuses, which is the
 *   default, or to end
 * @property {(refusal: SekringRefused) => void} [onRefused] is told of every refusal
 * @property {(ending: Ending) => void} [onEnded] is told of the end of every connection
 */
/**
 * Makes one socket, and whatever belongs to it.
 * @typedef {(attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>} MakeSocket
 */
/** A session that is kept connected. */
export class GuardedSession {
    /**
     * @param {MakeSocket} makeSocket
     * @param {SessionOptions} options
     */
    constructor(makeSocket: MakeSocket, options: SessionOptions);
    /** Why it ended; never rejects. @type {Promise<Ending>} */
    ended: Promise<Ending>;
    /**
     * End the connection, and connect no more.
     * @returns {Promise<Ending>}
     */
    stop(): Promise<Ending>;
    #private;
}
export type SessionOptions = {
    sekring: Sekring;
    instanceId: string;
    /**
     * whether to wait while the breaker refuses, which is the
     * default, or to end
     */
    whenRefused?: "wait" | "stop" | undefined;
    /**
     * is told of every refusal
     */
    onRefused?: ((refusal: SekringRefused) => void) | undefined;
    /**
     * is told of the end of every connection
     */
    onEnded?: ((ending: Ending) => void) | undefined;
};
/**
 * Makes one socket, and whatever belongs to it.
 */
export type MakeSocket = (attempt: Attempt) => BaileysSocket | Promise<BaileysSocket>;
import type { Ending } from "./guardedsocket.js";
import type { Sekring } from "./sekring.js";
import { SekringRefused } from "./errors.js";
import type { Attempt } from "./attempt.js";
import type { BaileysSocket } from "./guardedsocket.js";
