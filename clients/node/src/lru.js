/** A map that holds so many entries and no more: of more, those used least lately go. */

/**
 * @template K, V
 */
export class Lru {
  /** @type {Map<K, V>} */
  #entries = new Map();
  #most;

  /** @param {number} most */
  constructor(most) {
    this.#most = most;
  }

  get size() {
    return this.#entries.size;
  }

  keys() {
    return [...this.#entries.keys()];
  }

  /** @param {K} key */
  get(key) {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /**
   * @param {K} key
   * @param {V} value
   */
  set(key, value) {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#most) return;
    const [oldest] = this.#entries.keys();
    this.#entries.delete(/** @type {K} */ (oldest));
  }

  /** @param {K} key */
  delete(key) {
    return this.#entries.delete(key);
  }

  clear() {
    this.#entries.clear();
  }
}
