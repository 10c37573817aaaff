/** Outcomes as callers give them: checked, and put as the service takes them. */

import { SekringInvalidInput } from "./errors.js";
import { optionalName, reportId, wholeNumber } from "./ids.js";
import { EFFECTS } from "./taxonomy.js";

/** @import { Outcome } from "./model.js" */

/** Characters of a failure's detail that the service keeps. */
const DETAIL_KEPT = 300;

const WEEK_MS = 604_800_000;
const YEAR_MS = 31_536_000_000;

const OUTCOMES = ["failure", "success", "disconnected"];
const PROTOCOLS = ["baileys", "whatsmeow"];

/** Fields of a failure alone. */
const FAILURES = /** @type {const} */ (["kind", "protocol", "code", "banExpiresInMs"]);

/**
 * The outcome, if the service can take it.
 * @param {Outcome} outcome
 * @returns {Outcome}
 */
export function checkedOutcome(outcome) {
  oneOf(outcome?.outcome, "outcome", OUTCOMES);
  if (outcome.outcome !== "failure")
    for (const field of FAILURES)
      if (outcome[field] !== undefined)
        throw new SekringInvalidInput(`${field} goes with the outcome failure only.`, field);
  const { kind, protocol, code } = outcome;
  if (kind !== undefined) oneOf(kind, "kind", Object.keys(EFFECTS));
  if (protocol !== undefined) oneOf(protocol, "protocol", PROTOCOLS);
  if (kind !== undefined && (protocol !== undefined || code !== undefined))
    throw new SekringInvalidInput(
      "kind and protocol exclude each other: give kind, or protocol with code.",
      "kind",
    );
  if ((protocol === undefined) !== (code === undefined))
    throw new SekringInvalidInput("protocol and code go together: one of them is missing.", "code");
  wholeNumber(code, "code", 0, { least: 0, most: 65_535 });
  optionalName(outcome.id, "id");
  optionalName(outcome.attemptId, "attemptId");
  wholeNumber(outcome.ageMs, "ageMs", 0, { least: 0, most: WEEK_MS });
  wholeNumber(outcome.banExpiresInMs, "banExpiresInMs", 0, { least: 0, most: YEAR_MS });
  return outcome;
}

/**
 * What waits for the service: it has an id, so that it counts once however often it is sent.
 * @param {string} name
 * @param {Outcome} outcome
 * @param {{ gateway?: string, build?: string, traceparent?: string }} from who says it, and within
 *   which trace
 */
export function reportOf(name, outcome, { gateway, build, traceparent }) {
  const failure = outcome.outcome === "failure";
  return {
    instanceId: name,
    atMs: performance.now() - (outcome.ageMs ?? 0),
    body: {
      outcome: outcome.outcome,
      id: outcome.id ?? reportId(),
      attempt_id: outcome.attemptId,
      epoch: outcome.epoch,
      kind: outcome.kind,
      protocol: outcome.protocol,
      code: outcome.code,
      detail: outcome.detail?.slice(0, DETAIL_KEPT).toWellFormed(),
      ban_expires_in_ms: outcome.banExpiresInMs,
      gateway,
      build: failure ? build : undefined,
      traceparent,
    },
  };
}

/**
 * @param {unknown} value
 * @param {string} field
 * @param {string[]} choices
 */
function oneOf(value, field, choices) {
  if (typeof value === "string" && choices.includes(value)) return;
  throw new SekringInvalidInput(
    `${field}: ${JSON.stringify(value) ?? value} is not one of ${choices.join(", ")}.`,
    field,
  );
}
