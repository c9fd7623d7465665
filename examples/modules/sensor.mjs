// Sends a numbered reading every so often and writes down which ones the hub accepted (PUBACK).
// Everything it needs to connect is in its environment, as on Azure IoT Edge.
import { appendFileSync } from "node:fs";
import device from "azure-iot-device";
import mqtt from "azure-iot-device-mqtt";

const accepted = process.env.ACCEPTED_FILE ?? "accepted.txt";
const pause = Number(process.env.PAUSE_MS ?? 100);
const last = Number(process.env.READINGS ?? 0);

const client = await device.ModuleClient.fromEnvironment(mqtt.Mqtt);
client.on("error", (error) => console.error("sensor:", error.message));
await client.open();
console.log("sensor: connected");

for (let n = 1; last === 0 || n <= last; n += 1) {
  const level = n % 10;
  const message = new device.Message(JSON.stringify({ n, level }));
  message.contentType = "application/json";
  message.contentEncoding = "utf-8";
  message.messageId = `reading-${n}`;
  message.properties.add("level", String(level));
  // Sent again by hand when the SDK gives up on it: a reading is only done when the hub has it.
  for (;;) {
    try {
      await client.sendOutputEvent("readings", message);
      break;
    } catch (error) {
      console.error(`sensor: reading ${n}: ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  appendFileSync(accepted, `${n}\n`);
  await new Promise((resolve) => setTimeout(resolve, pause));
}
console.log("sensor: done");
setInterval(() => {}, 60_000);
