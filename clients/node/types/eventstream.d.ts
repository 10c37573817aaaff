/** Puts events together; `lastId` is what a client resumes with. */
export class EventParser {
    /**
     * @param {string | undefined} lastId
     * @param {(event: ServerSent) => void} onEvent
     * @param {() => void} onPlace an id without an event: the client has everything up to it
     */
    constructor(lastId: string | undefined, onEvent: (event: ServerSent) => void, onPlace: () => void);
    /** @type {string | undefined} */
    lastId: string | undefined;
    /** How long to wait until the stream is opened again, in ms, if the server has said so. */
    retryMs: number;
    /**
     * Take the next piece; lines may be cut anywhere.
     * @param {string} text
     */
    take(text: string): void;
    #private;
}
export type ServerSent = {
    event: string;
    data: string;
};
