// Takes readings from its input "in" and passes the high ones on as alerts.
import device from "azure-iot-device";
import mqtt from "azure-iot-device-mqtt";

const client = await device.ModuleClient.fromEnvironment(mqtt.Mqtt);
client.on("error", (error) => console.error("filter:", error.message));
client.on("inputMessage", async (input, message) => {
  const reading = JSON.parse(message.getData().toString());
  const alert = new device.Message(JSON.stringify({ alert: reading.n, level: reading.level }));
  alert.contentType = "application/json";
  alert.contentEncoding = "utf-8";
  await client.sendOutputEvent("alerts", alert);
  client.complete(message, () => {});
});
await client.open();
console.log("filter: connected");
