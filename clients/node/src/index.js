/**
 * Client of Sekring, a distributed circuit breaker for WhatsApp sessions.
 *
 *     const sekring = new Sekring({ url: "http://localhost:8000" });
 *     await sekring.guard("6281234567890", (attempt) => connect());
 */

export { Attempt } from "./attempt.js";
export { connectGuarded, guardBaileys } from "./baileys.js";
export {
  SekringClosed,
  SekringError,
  SekringInvalidInput,
  SekringNotAllowed,
  SekringNotAuthenticated,
  SekringRefused,
  SekringUnavailable,
} from "./errors.js";
export { Sekring } from "./sekring.js";

/** @typedef {import("./guardedsocket.js").Ending} Ending */
/** @typedef {import("./guardedsession.js").GuardedSession} GuardedSession */
/** @typedef {import("./model.js").Failure} Failure */
/** @typedef {import("./model.js").Outcome} Outcome */
/** @typedef {import("./model.js").State} State */
/** @typedef {import("./model.js").Transition} Transition */
/** @typedef {import("./model.js").Verdict} Verdict */
/** @typedef {import("./options.js").Logger} Logger */
/** @typedef {import("./options.js").SekringOptions} SekringOptions */
