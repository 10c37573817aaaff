/**
 * @typedef {object} Events
 * @property {[transition: Transition]} transition a breaker has changed, as the feed tells it
 * @property {[]} live what is known from memory is current from now on
 * @property {[error: Error]} degraded the service is away: this client decides by itself
 * @property {[]} recovered the service decides again, and has learnt what was decided without it
 * @property {[drop: { instanceId: string, why: string, dropped: number }]} dropped a report was
 *   given up
 */
/** The voice of one client. */
export class Voice {
    /**
     * @param {EventEmitter<Events>} emitter
     * @param {Logger} logger
     */
    constructor(emitter: EventEmitter<Events>, logger: Logger);
    /** @param {Error} error */
    sayAway(error: Error): void;
    sayBack(): void;
    /**
     * @param {string} instanceId
     * @param {string} why
     * @param {number} dropped in all
     */
    sayDropped(instanceId: string, why: string, dropped: number): void;
    /**
     * Emit; a listener that throws is its author's, and must not stop the client.
     * @param {any[]} event
     */
    tell(...event: any[]): void;
    #private;
}
export type Events = {
    /**
     * a breaker has changed, as the feed tells it
     */
    transition: [transition: Transition];
    /**
     * what is known from memory is current from now on
     */
    live: [];
    /**
     * the service is away: this client decides by itself
     */
    degraded: [error: Error];
    /**
     * the service decides again, and has learnt what was decided without it
     */
    recovered: [];
    /**
     * a report was
     * given up
     */
    dropped: [drop: {
        instanceId: string;
        why: string;
        dropped: number;
    }];
};
import type { EventEmitter } from "node:events";
import type { Logger } from "./options.js";
import type { Transition } from "./model.js";
