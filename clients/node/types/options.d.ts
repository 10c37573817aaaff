/**
 * @typedef {object} Logger
 * @property {(message: string) => void} info
 * @property {(message: string) => void} warn
 * @property {(message: string) => void} error
 */
/**
 * @typedef {object} SekringOptions
 * @property {string | URL} [url] where the service is; default: `SEKRING_URL`
 * @property {string} [token] of the role `gateway`; default: `SEKRING_TOKEN`
 * @property {string} [gateway] name of this gateway, in the audit trail and for `min_reporters`
 * @property {string} [build] its library and version: what WhatsApp refuses as outdated
 * @property {number} [timeoutMs] deadline of every request; default 5,000
 * @property {number} [stalenessMs] how old an answer from memory may be if the network fails in
 *   silence; default 3,000
 * @property {number} [flushAfterMs] how long a report waits for others, at most; default 20
 * @property {number} [reportsMax] reports that wait for the service, at most; default 10,000
 * @property {boolean} [keepProcessAlive] whether an open client keeps the process alive; default no
 * @property {Logger} [logger] is told when the service is away or back, and of what is lost;
 *   default `console`
 */
/** @typedef {ReturnType<typeof settingsOf>} Settings */
/** @param {SekringOptions} options */
export function settingsOf(options: SekringOptions): Readonly<{
    url: URL;
    token: string | undefined;
    gateway: string | undefined;
    build: string | undefined;
    timeoutMs: number;
    stalenessMs: number;
    flushAfterMs: number;
    reportsMax: number;
    /** Whether the process may end although the client is open. */
    background: boolean;
    logger: Console | Logger;
}>;
export type Logger = {
    info: (message: string) => void;
    warn: (message: string) => void;
    error: (message: string) => void;
};
export type SekringOptions = {
    /**
     * where the service is; default: `SEKRING_URL`
     */
    url?: string | URL | undefined;
    /**
     * of the role `gateway`; default: `SEKRING_TOKEN`
     */
    token?: string | undefined;
    /**
     * name of this gateway, in the audit trail and for `min_reporters`
     */
    gateway?: string | undefined;
    /**
     * its library and version: what WhatsApp refuses as outdated
     */
    build?: string | undefined;
    /**
     * deadline of every request; default 5,000
     */
    timeoutMs?: number | undefined;
    /**
     * how old an answer from memory may be if the network fails in
     * silence; default 3,000
     */
    stalenessMs?: number | undefined;
    /**
     * how long a report waits for others, at most; default 20
     */
    flushAfterMs?: number | undefined;
    /**
     * reports that wait for the service, at most; default 10,000
     */
    reportsMax?: number | undefined;
    /**
     * whether an open client keeps the process alive; default no
     */
    keepProcessAlive?: boolean | undefined;
    /**
     * is told when the service is away or back, and of what is lost;
     * default `console`
     */
    logger?: Logger | undefined;
};
export type Settings = ReturnType<typeof settingsOf>;
