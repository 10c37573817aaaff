// What a frontend of waziper does: node waziper.mjs instance|get_qrcode INSTANCE_ID
const service = process.env.SEKRING_URL ?? "http://localhost:8000";
const [route, instanceId] = process.argv.slice(2);

const query = new URLSearchParams({ instance_id: instanceId });
if (process.env.SEKRING_TOKEN) query.set("access_token", process.env.SEKRING_TOKEN);
const response = await (await fetch(`${service}/${route}?${query}`)).json();

if (response.circuit_breaker) {
  const when = response.retry_after
    ? `in ${Math.ceil(response.retry_after / 60)} minutes`
    : "later";
  console.log(`Please try again ${when}. (${response.message})`);
} else if (response.status === "success") {
  console.log(response.base64 ?? JSON.stringify(response.data));
} else {
  console.log(`Sorry: ${response.message}`);
}
