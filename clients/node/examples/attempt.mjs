import { Sekring } from "sekring";

const sekring = new Sekring();
const attempt = await sekring.permit("6281234567890"); // throws SekringRefused
await attempt.wait(); // the backoff that the service recommends
await attempt.failed({ kind: "timeout", detail: "no answer within 20 s" });
// or: attempt.failed({ protocol: "baileys", code: 428 }), attempt.failed(error)
// or: attempt.connected(), and when it has ended: attempt.failed(…) or attempt.disconnected()

console.log(await sekring.permitted("6281234567890")); // from memory, asks for nothing
sekring.on("transition", ({ instance_id, action }) => console.log(instance_id, action));
await sekring.close(); // sends what waits
