/**
 * @typedef {object} Hooks
 * @property {(transition: Transition) => void} onTransition
 * @property {(resumed: boolean) => void} onLive the stream is live; `resumed`: nothing was missed
 */
/** The client's view of the fleet. */
export class View {
    /**
     * @param {Transport} transport
     * @param {Knowledge} knowledge
     * @param {{ stalenessMs: number, background: boolean } & Hooks} options
     */
    constructor(transport: Transport, knowledge: Knowledge, { stalenessMs, background, ...hooks }: {
        stalenessMs: number;
        background: boolean;
    } & Hooks);
    /** Whether the stream is proven to have been alive within `stalenessMs`. */
    get isCurrent(): boolean;
    /** Follow until closed; never fails. */
    run(): Promise<void>;
    close(): void;
    #private;
}
export type Hooks = {
    onTransition: (transition: Transition) => void;
    /**
     * the stream is live; `resumed`: nothing was missed
     */
    onLive: (resumed: boolean) => void;
};
import type { Transport } from "./transport.js";
import type { Knowledge } from "./knowledge.js";
import type { Transition } from "./model.js";
