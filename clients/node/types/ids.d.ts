/**
 * The instance's id, if it is one.
 * @param {unknown} id
 * @returns {string}
 */
export function instanceId(id: unknown): string;
/**
 * A name of printable ASCII, or nothing.
 * @param {unknown} name
 * @param {string} field
 * @returns {string | undefined}
 */
export function optionalName(name: unknown, field: string): string | undefined;
/**
 * A whole number, or its default.
 * @param {unknown} value
 * @param {string} field
 * @param {number} otherwise
 * @param {{ least?: number, most?: number }} [limits] the most is what a timer can wait
 * @returns {number}
 */
export function wholeNumber(value: unknown, field: string, otherwise: number, { least, most }?: {
    least?: number;
    most?: number;
}): number;
/**
 * An instance's resource under `/v1`.
 * @param {string} id
 * @param {string} what
 */
export function pathOf(id: string, what?: string): string;
/** A fresh id for a report. */
export function reportId(): string;
