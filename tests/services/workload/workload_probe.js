// Plays a module written with the official SDK: credentials from the environment, then open() against a scripted TLS
// MQTT server whose certificate comes from the same workload API. Prints one JSON object for the test to judge.
'use strict';
const http = require('http');
const tls = require('tls');
const path = require('path');
const packet = require(require.resolve('mqtt-packet', { paths: [path.dirname(require.resolve('mqtt/package.json'))] }));
const { ModuleClient } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const socketPath = process.env.IOTEDGE_WORKLOADURI.slice('unix://'.length);

function call(method, target, body) {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const request = http.request({ socketPath, method, path: target, headers: { 'Content-Length': Buffer.byteLength(text) } },
      (response) => {
        let data = '';
        response.on('data', (piece) => { data += piece; });
        response.on('end', () => resolve({ status: response.statusCode, body: JSON.parse(data) }));
      });
    request.on('error', reject);
    request.end(text);
  });
}

function scriptedHub(certificate, seen) {
  const server = tls.createServer({ key: certificate.privateKey.bytes, cert: certificate.certificate }, (socket) => {
    const parser = packet.parser();
    parser.on('packet', (got) => {
      if (got.cmd === 'connect') {
        seen.clientId = got.clientId;
        seen.username = got.username;
        seen.password = got.password.toString();
        socket.write(packet.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }));
      }
      if (got.cmd === 'publish') {
        seen.topic = got.topic;
        socket.write(packet.generate({ cmd: 'puback', messageId: got.messageId }));
      }
    });
    socket.on('data', (data) => parser.parse(data));
    socket.on('error', () => {});
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

async function main() {
  const seen = {};
  // The hub's certificate, as the hub itself would fetch it; the test gives the hub's socket for that.
  const hubSocket = process.env.TEST_HUB_SOCKET;
  const certificate = await new Promise((resolve, reject) => {
    const text = JSON.stringify({ commonName: 'localhost', expiration: new Date(Date.now() + 3600000).toISOString() });
    const request = http.request({ socketPath: hubSocket, method: 'POST',
      path: `/modules/%24edgeHub/genid/${process.env.TEST_HUB_GENERATION}/certificate/server?api-version=2019-01-30`,
      headers: { 'Content-Length': Buffer.byteLength(text) } }, (response) => {
      let data = '';
      response.on('data', (piece) => { data += piece; });
      response.on('end', () => (response.statusCode === 201 ? resolve(JSON.parse(data)) : reject(new Error(data))));
    });
    request.on('error', reject);
    request.end(text);
  });
  const server = await scriptedHub(certificate, seen);
  process.env.IOTEDGE_GATEWAYHOSTNAME = `localhost:${server.address().port}`;

  const client = await ModuleClient.fromEnvironment(Mqtt);
  await client.open();
  const { Message } = require('azure-iot-device');
  await client.sendOutputEvent('out', new Message('{"t":1}'));
  await client.close();
  server.close();

  const id = encodeURIComponent(process.env.IOTEDGE_MODULEID);
  const stale = await call('POST', `/modules/${id}/genid/0/sign?api-version=2018-06-28`,
    { keyId: 'primary', algo: 'HMACSHA256', data: 'AAAA' });
  const modules = await call('GET', '/modules?api-version=2018-06-28');
  process.stdout.write(JSON.stringify({ ...seen, stale: stale.status, modules: modules.body }) + '\n');
}

main().then(() => process.exit(0), (error) => {
  process.stderr.write(`${error.stack || error}\n`);
  process.exit(1);
});
