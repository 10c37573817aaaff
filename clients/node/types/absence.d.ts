/**
 * @typedef {object} Ways
 * @property {() => Promise<unknown>} ask ask the service anything; fails while it is away
 * @property {() => Promise<boolean>} catchUp have it learn what waits; false: it did not take it
 * @property {(error: SekringUnavailable) => void} onAway
 * @property {() => void} onBack it is there, and has learnt what waited
 */
/** The service's absence: it begins with one failed request, and ends when all was told. */
export class Absence {
    /** @param {{ background: boolean } & Ways} options */
    constructor({ background, ...ways }: {
        background: boolean;
    } & Ways);
    /** Whether decisions are made without the service. */
    get isNow(): boolean;
    /** @param {SekringUnavailable} error */
    begin(error: SekringUnavailable): void;
    /** Try no more. */
    close(): void;
    #private;
}
export type Ways = {
    /**
     * ask the service anything; fails while it is away
     */
    ask: () => Promise<unknown>;
    /**
     * have it learn what waits; false: it did not take it
     */
    catchUp: () => Promise<boolean>;
    onAway: (error: SekringUnavailable) => void;
    /**
     * it is there, and has learnt what waited
     */
    onBack: () => void;
};
import { SekringUnavailable } from "./errors.js";
