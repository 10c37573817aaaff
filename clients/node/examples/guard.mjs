import { Sekring, SekringRefused } from "sekring";

const sekring = new Sekring(); // at SEKRING_URL, with SEKRING_TOKEN
try {
  const reply = await sekring.guard("6281234567890", () => fetch("https://web.whatsapp.com"));
  console.log(reply.status);
} catch (error) {
  if (!(error instanceof SekringRefused)) throw error;
  console.log(error.message); // 6281234567890 may not connect now (failures): ask again in 587 s.
}
