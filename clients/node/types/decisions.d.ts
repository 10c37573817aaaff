/** @import { Absence } from "./absence.js" */
/** @import { Degraded } from "./degraded.js" */
/** @import { Knowledge } from "./knowledge.js" */
/** @import { Admission, Outcome, Verdict } from "./model.js" */
/** @import { Settings } from "./options.js" */
/** @import { Outbox } from "./outbox.js" */
/** @import { Policies } from "./policies.js" */
/** @import { Tracing } from "./tracing.js" */
/** @import { Transport } from "./transport.js" */
/** @import { View } from "./view.js" */
/**
 * @typedef {object} Parts
 * @property {Settings} settings
 * @property {Tracing} tracing
 * @property {Transport} transport
 * @property {Knowledge} knowledge
 * @property {Policies} policies
 * @property {View} view
 * @property {Outbox} outbox
 * @property {Degraded} degraded
 * @property {Absence} absence
 */
/** Permits and reports, whoever answers them. */
export class Decisions {
    /** @param {Parts} parts */
    constructor(parts: Parts);
    /**
     * @param {string} name
     * @param {boolean} strong
     * @returns {Promise<{ admission: Admission, alone: boolean }>} `alone`: the service knows nothing
     *   of it
     */
    permit(name: string, strong: boolean): Promise<{
        admission: Admission;
        alone: boolean;
    }>;
    /**
     * Whether the instance's breaker is not open.
     * @param {string} name
     * @returns {Promise<boolean>}
     */
    permitted(name: string): Promise<boolean>;
    /**
     * Have the service learn an outcome; its verdict, or this client's own.
     * @param {string} name
     * @param {Outcome} outcome
     * @param {string | undefined} attemptId the attempt's, also where the service knows nothing of it
     * @returns {Promise<Verdict>}
     */
    report(name: string, outcome: Outcome, attemptId: string | undefined): Promise<Verdict>;
    #private;
}
export type Parts = {
    settings: Settings;
    tracing: Tracing;
    transport: Transport;
    knowledge: Knowledge;
    policies: Policies;
    view: View;
    outbox: Outbox;
    degraded: Degraded;
    absence: Absence;
};
import type { Admission } from "./model.js";
import type { Outcome } from "./model.js";
import type { Verdict } from "./model.js";
import type { Settings } from "./options.js";
import type { Tracing } from "./tracing.js";
import type { Transport } from "./transport.js";
import type { Knowledge } from "./knowledge.js";
import type { Policies } from "./policies.js";
import type { View } from "./view.js";
import type { Outbox } from "./outbox.js";
import type { Degraded } from "./degraded.js";
import type { Absence } from "./absence.js";
