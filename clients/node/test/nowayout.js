/** Loaded before an example: whatever name it asks for, nothing of it leaves the machine. */

import dns from "node:dns";

dns.lookup = (name, options, done = options) =>
  options?.all
    ? process.nextTick(done, null, [{ address: "127.0.0.1", family: 4 }])
    : process.nextTick(done, null, "127.0.0.1", 4);
