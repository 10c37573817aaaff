/**
 * Wait; true when the time is over, false when `signal` was aborted before. Never fails.
 * @param {number} ms
 * @param {{ signal?: AbortSignal, background?: boolean }} [options] `background`: the process may end
 *   meanwhile
 * @returns {Promise<boolean>}
 */
export function sleep(ms: number, { signal, background }?: {
    signal?: AbortSignal;
    background?: boolean;
}): Promise<boolean>;
/**
 * The promise's value, or `undefined` if it takes longer than that.
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @returns {Promise<T | undefined>}
 */
export function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined>;
