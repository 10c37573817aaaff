import { makeWASocket, useMultiFileAuthState } from "@whiskeysockets/baileys";
import { Sekring, connectGuarded } from "sekring";

const sekring = new Sekring({ gateway: "gateway-1", build: "baileys/7.0.0-rc14" });
const instanceId = "6281234567890";
const { state, saveCreds } = await useMultiFileAuthState(`sessions/${instanceId}`);

const session = connectGuarded(
  () => {
    const socket = makeWASocket({ auth: state });
    socket.ev.on("creds.update", saveCreds);
    return socket;
  },
  {
    sekring,
    instanceId,
    onEnded: (ending) => console.log(ending.reason, ending.detail), // lost WebSocket Error (…)
    onRefused: (refusal) => console.log(refusal.message),
  },
);
process.once("SIGTERM", () => session.stop());
const { reason, detail } = await session.ended;
console.log(`ended (${reason}): ${detail}`);
await sekring.close();
