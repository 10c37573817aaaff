/** The breakers of a client that is alone. */
export class Degraded {
    /**
     * @param {Knowledge} knowledge what it begins with
     * @param {() => number} clock milliseconds that never go back
     * @param {string | undefined} gateway the name under which this client reports
     */
    constructor(knowledge: Knowledge, clock: () => number, gateway: string | undefined);
    /** @param {string} name */
    permit(name: string): import("./model.js").Admission;
    /** Whether the instance's breaker is not open. @param {string} name */
    permitted(name: string): boolean;
    /**
     * @param {string} name
     * @param {string} id
     * @param {Outcome} outcome
     */
    report(name: string, id: string, outcome: Outcome): import("./model.js").Verdict;
    /** Let all instances go: the service decides again, and knows what was decided here. */
    letGo(): void;
    #private;
}
import type { Outcome } from "./model.js";
import type { Knowledge } from "./knowledge.js";
