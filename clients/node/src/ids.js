/** Names as the service takes them. */

import { randomBytes } from "node:crypto";

import { SekringInvalidInput } from "./errors.js";

const INSTANCE_ID = /^[A-Za-z0-9._:@-]{1,128}$/;
const NAME = /^[\x21-\x7e]{1,128}$/;

/**
 * The instance's id, if it is one.
 * @param {unknown} id
 * @returns {string}
 */
export function instanceId(id) {
  if (typeof id === "string" && INSTANCE_ID.test(id)) return id;
  throw new SekringInvalidInput(
    `instance_id is ${shown(id)}; it takes 1 to 128 of A-Z a-z 0-9 . _ : @ -`,
    "instance_id",
  );
}

/**
 * A name of printable ASCII, or nothing.
 * @param {unknown} name
 * @param {string} field
 * @returns {string | undefined}
 */
export function optionalName(name, field) {
  if (name === undefined || name === null) return undefined;
  if (typeof name === "string" && NAME.test(name)) return name;
  throw new SekringInvalidInput(
    `${field} is ${shown(name)}; it takes 1 to 128 printable ASCII characters without spaces.`,
    field,
  );
}

/**
 * A whole number, or its default.
 * @param {unknown} value
 * @param {string} field
 * @param {number} otherwise
 * @param {{ least?: number, most?: number }} [limits] the most is what a timer can wait
 * @returns {number}
 */
export function wholeNumber(value, field, otherwise, { least = 1, most = 2 ** 31 - 1 } = {}) {
  if (value === undefined) return otherwise;
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most)
    return value;
  throw new SekringInvalidInput(
    `${field} is ${shown(value)}; it takes a whole number from ${least} to ${most}.`,
    field,
  );
}

/**
 * An instance's resource under `/v1`.
 * @param {string} id
 * @param {string} what
 */
export function pathOf(id, what = "") {
  // `.` and `..` are fine names, and other steps of a path unless they are quoted.
  const step = /^\.+$/.test(id) ? id.replaceAll(".", "%2E") : encodeURIComponent(id);
  return `/v1/instances/${step}${what && `/${what}`}`;
}

/** A fresh id for a report. */
export function reportId() {
  return randomBytes(12).toString("base64url");
}

/** @param {unknown} value */
function shown(value) {
  return (JSON.stringify(value) ?? String(value)).slice(0, 160);
}
