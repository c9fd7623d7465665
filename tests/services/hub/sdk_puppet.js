// Clients of the official SDK and of plain MQTT on a string: reads commands as JSON lines from the unix socket in argv,
// answers each with {"n", "ok"} or {"n", "error"}, and says {"event", "as", ...} whenever something arrives.
'use strict';
const fs = require('fs');
const net = require('net');
const mqtt = require('mqtt');
const { Client, ModuleClient, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');

const clients = new Map();
const socket = net.connect(process.argv[2]);

function say(line) {
  socket.write(JSON.stringify(line) + '\n');
}

function describe(message) {
  const system = {};
  for (const name of ['messageId', 'correlationId', 'userId', 'contentType', 'contentEncoding', 'to']) {
    if (message[name] !== undefined) system[name] = String(message[name]);
  }
  return { body: message.getData().toString(), system, properties: message.properties.propertyList.map((p) => [p.key, p.value]) };
}

function message(command) {
  const made = new Message(command.body);
  for (const [key, value] of command.properties || []) made.properties.propertyList.push({ key, value });
  for (const [key, value] of Object.entries(command.system || {})) made[key] = value;
  return made;
}

function use(command) {
  const found = clients.get(command.as);
  if (!found) throw new Error(`no client ${command.as}`);
  return found;
}

const does = {
  async open(command) {
    const transport = command.webSocket ? MqttWs : Mqtt;
    const client = command.kind === 'environment' ? await ModuleClient.fromEnvironment(transport)
      : (command.kind === 'device' ? Client : ModuleClient).fromConnectionString(command.connectionString, transport);
    clients.set(command.as, client);
    // A connection that was reset is not made again by the SDK; the application does it.
    const again = () => client.open().catch(() => setTimeout(again, 100));
    client.on('disconnect', () => {
      say({ event: 'disconnect', as: command.as });
      if (command.reopen) again();
    });
    client.on('error', (error) => say({ event: 'error', as: command.as, text: String(error) }));
    const options = command.options || {};
    for (const file of ['ca', 'cert', 'key']) if (command[file]) options[file] = fs.readFileSync(command[file], 'utf8');
    if (Object.keys(options).length > 0) await client.setOptions(options);
    await client.open();
  },
  async close(command) {
    await use(command).close();
    clients.delete(command.as);
  },
  async send(command) {
    const client = use(command);
    await (command.output ? client.sendOutputEvent(command.output, message(command)) : client.sendEvent(message(command)));
  },
  // `count` messages at once; resolves when the last is acknowledged.
  async sendMany(command) {
    const client = use(command);
    await Promise.all(Array.from({ length: command.count }, (_, i) =>
      (command.output ? client.sendOutputEvent(command.output, new Message(String(command.first + i)))
        : client.sendEvent(new Message(String(command.first + i))))));
  },
  async inputs(command) {
    use(command).on('inputMessage', (input, got) => say({ event: 'input', as: command.as, input, ...describe(got) }));
  },
  async cloudMessages(command) {
    const client = use(command);
    client.on('message', (got) => {
      say({ event: 'cloud', as: command.as, ...describe(got) });
      client.complete(got);
    });
  },
  async twin(command) {
    const twin = await use(command).getTwin();
    use(command).puppetTwin = twin;
    return { desired: twin.properties.desired, reported: { ...twin.properties.reported, update: undefined } };
  },
  async watchDesired(command) {
    use(command).puppetTwin.on('properties.desired', (patch) => say({ event: 'desired', as: command.as, patch }));
  },
  report(command) {
    const twin = use(command).puppetTwin;
    return new Promise((resolve, reject) => twin.properties.reported.update(command.patch,
      (error) => (error ? reject(error) : resolve())));
  },
  async method(command) {
    const client = use(command);
    const listen = (client.onMethod || client.onDeviceMethod).bind(client);
    listen(command.name, (request, response) => {
      say({ event: 'method', as: command.as, name: request.methodName, payload: request.payload });
      if (command.status) response.send(command.status, command.payload);
    });
  },
  async invoke(command) {
    const call = { methodName: command.name, payload: command.payload, connectTimeoutInSeconds: command.connectTimeout || 0,
      responseTimeoutInSeconds: command.responseTimeout || 30 };
    const client = use(command);
    return command.module ? client.invokeMethod(command.device, command.module, call) : client.invokeMethod(command.device, call);
  },

  // ---- plain MQTT
  mqtt(command) {
    return new Promise((resolve, reject) => {
      const options = { reconnectPeriod: 0, ...command.options };
      if (command.ca) options.ca = fs.readFileSync(command.ca);
      const client = mqtt.connect(command.url, options);
      clients.set(command.as, client);
      client.on('message', (topic, payload, packet) => say({ event: 'publish', as: command.as, topic, body: payload.toString(),
        qos: packet.qos, retain: packet.retain }));
      client.on('close', () => say({ event: 'closed', as: command.as }));
      client.on('connect', (connack) => resolve({ sessionPresent: connack.sessionPresent }));
      client.on('error', reject);
    });
  },
  subscribe(command) {
    return new Promise((resolve, reject) => use(command).subscribe(command.filter, { qos: command.qos || 0 },
      (error, granted, packet) => (packet ? resolve([...packet.granted]) : reject(error))));
  },
  publish(command) {
    return new Promise((resolve, reject) => use(command).publish(command.topic, command.body,
      { qos: command.qos || 0, retain: command.retain || false }, (error) => (error ? reject(error) : resolve())));
  },
  end(command) {
    return new Promise((resolve) => use(command).end(command.force || false, {}, () => resolve()));
  },
};

async function obey(line) {
  const command = JSON.parse(line);
  try {
    const result = await does[command.do](command);
    say({ n: command.n, ok: result === undefined ? null : result });
  } catch (error) {
    say({ n: command.n, error: { name: error.name, message: String(error.message || error) } });
  }
}

let pending = '';
socket.on('data', (data) => {
  pending += data.toString();
  for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
    obey(pending.slice(0, end));
    pending = pending.slice(end + 1);
  }
});
socket.on('close', () => process.exit(0));
socket.on('error', () => process.exit(1));
