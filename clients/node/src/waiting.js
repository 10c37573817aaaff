/** Waits that end early, and that do not hold up the process unless they are to. */

/** The longest that a timer can wait, in ms. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/**
 * Wait; true when the time is over, false when `signal` was aborted before. Never fails.
 * @param {number} ms
 * @param {{ signal?: AbortSignal, background?: boolean }} [options] `background`: the process may end
 *   meanwhile
 * @returns {Promise<boolean>}
 */
export function sleep(ms, { signal, background = false } = {}) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(false);
    const onAbort = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const onTime = () => {
      signal?.removeEventListener("abort", onAbort);
      resolve(true);
    };
    const timer = setTimeout(onTime, Math.min(Math.max(0, ms), TIMER_MAX_MS));
    if (background) timer.unref();
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * The promise's value, or `undefined` if it takes longer than that.
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @returns {Promise<T | undefined>}
 */
export async function within(promise, ms) {
  const over = new AbortController();
  try {
    return await Promise.race([promise, sleep(ms, { signal: over.signal }).then(() => undefined)]);
  } finally {
    over.abort();
  }
}
