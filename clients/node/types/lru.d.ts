/** A map that holds so many entries and no more: of more, those used least lately go. */
/**
 * @template K, V
 */
export class Lru<K, V> {
    /** @param {number} most */
    constructor(most: number);
    get size(): number;
    keys(): K[];
    /** @param {K} key */
    get(key: K): (V & ({} | null)) | undefined;
    /**
     * @param {K} key
     * @param {V} value
     */
    set(key: K, value: V): void;
    /** @param {K} key */
    delete(key: K): boolean;
    clear(): void;
    #private;
}
