/**
 * The outcome, if the service can take it.
 * @param {Outcome} outcome
 * @returns {Outcome}
 */
export function checkedOutcome(outcome: Outcome): Outcome;
/**
 * What waits for the service: it has an id, so that it counts once however often it is sent.
 * @param {string} name
 * @param {Outcome} outcome
 * @param {{ gateway?: string, build?: string, traceparent?: string }} from who says it, and within
 *   which trace
 */
export function reportOf(name: string, outcome: Outcome, { gateway, build, traceparent }: {
    gateway?: string;
    build?: string;
    traceparent?: string;
}): {
    instanceId: string;
    atMs: number;
    body: {
        outcome: import("./model.js").OutcomeName;
        id: string;
        attempt_id: string | undefined;
        epoch: number | undefined;
        kind: string | undefined;
        protocol: "baileys" | "whatsmeow" | undefined;
        code: number | undefined;
        detail: string | undefined;
        ban_expires_in_ms: number | undefined;
        gateway: string | undefined;
        build: string | undefined;
        traceparent: string | undefined;
    };
};
import type { Outcome } from "./model.js";
