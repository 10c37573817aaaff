/** Keeps the policies in `Knowledge` current. */
export class Policies {
    /**
     * @param {Transport} transport
     * @param {Knowledge} knowledge
     * @param {boolean} background whether the process may end meanwhile
     */
    constructor(transport: Transport, knowledge: Knowledge, background: boolean);
    /**
     * An instance is used: know its policy, unless the service is away.
     * @param {string} name
     * @returns {Promise<void>}
     */
    use(name: string): Promise<void>;
    /** Read all again that are known; until then the old ones are in force. */
    refresh(): void;
    /** @param {Transition} transition */
    take({ action, instance_id: name }: Transition): void;
    /**
     * Read the fleet's policy now.
     * @returns {Promise<void>}
     */
    readFleet(): Promise<void>;
    #private;
}
import type { Transition } from "./model.js";
import type { Transport } from "./transport.js";
import type { Knowledge } from "./knowledge.js";
