// On a real node: pods with the inject label that no object selects work as without it, through unchanged Services:
// HTTP with WebSockets, large uploads and odd paths, a Redis on a port named db, a server that speaks first. Then an
// object comes and goes.
import { beforeAll, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Redis } from 'ioredis';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { chat, tally } from '../e2e/traffic.ts';
import { conversation } from '../limiter/front/web-socket-echo.ts';
import { describeInstalled } from './installed.ts';
import { namespace, sidecarRoute, type KubeManifest } from './workloads.ts';

const SPACE = 'unselected';
const MIB = 1024 * 1024;

/** Says what reached it, and sends WebSocket frames of up to 125 bytes back. */
const WEB_SERVER = `
const { createServer } = require('node:http');
const { createHash } = require('node:crypto');
createServer((request, response) => {
  let bytes = 0;
  request.on('data', (chunk) => { bytes += chunk.length; });
  request.on('end', () => response.end(JSON.stringify({ url: request.url, bytes, headers: request.rawHeaders })));
}).on('upgrade', (request, socket, head) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = createHash('sha1').update(key).digest('base64');
  socket.on('error', () => undefined);
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n' +
    'Sec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
  let bytes = head;
  const take = (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 2 && bytes.length >= 6 + (bytes[1] & 127)) {
      const end = 6 + (bytes[1] & 127);
      const payload = bytes.subarray(6, end).map((byte, index) => byte ^ bytes[2 + (index % 4)]);
      socket.write(Buffer.concat([Buffer.from([bytes[0], payload.length]), payload]));
      if (bytes[0] === 0x88) socket.end();
      bytes = bytes.subarray(end);
    }
  };
  take(Buffer.alloc(0));
  socket.on('data', take);
  socket.on('end', () => socket.end());
}).listen(8000, '0.0.0.0');
`;
const MAIL_SERVER = `
require('node:net').createServer((socket) => {
  socket.on('error', () => undefined);
  socket.write('220 mail\\r\\n');
  socket.on('data', () => socket.end('221 bye\\r\\n'));
}).listen(2525, '0.0.0.0');
`;

interface Server {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly port: { readonly name: string; readonly number: number };
}

/** A Deployment, and a Service that targets the port by its name. */
function server({ name, image, command, port }: Server): KubeManifest[] {
  const metadata = { namespace: SPACE, name, labels: { app: name } };
  const container = {
    name,
    image,
    command,
    imagePullPolicy: 'IfNotPresent',
    ports: [{ name: port.name, containerPort: port.number }],
    readinessProbe: { tcpSocket: { port: port.name }, periodSeconds: 1 },
  };
  const template = { metadata: { labels: { app: name } }, spec: { containers: [container] } };
  const spec = { replicas: 1, selector: { matchLabels: { app: name } }, template };
  const service = { selector: { app: name }, ports: [{ name: port.name, port: port.number, targetPort: port.name }] };
  return [
    { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec },
    { apiVersion: 'v1', kind: 'Service', metadata, spec: service },
  ];
}

describeInstalled('pods that no object selects', [namespace(SPACE, { 'weir.dev/inject': 'true' })], (weir) => {
  let web: string;

  beforeAll(async () => {
    const { image } = weir();
    const node = (script: string): readonly string[] => ['node', '-e', script];
    const redis = ['redis-server', '--save', '', '--protected-mode', 'no'];
    await weir().apply(
      ...server({ name: 'web', image, command: node(WEB_SERVER), port: { name: 'http', number: 8000 } }),
      ...server({ name: 'store', image: 'redis:7.0', command: redis, port: { name: 'db', number: 6379 } }),
      ...server({ name: 'mail', image, command: node(MAIL_SERVER), port: { name: 'inbox', number: 2525 } }),
    );
    for (const name of ['web', 'store', 'mail']) await weir().rolledOut(SPACE, name);
    web = await weir().serviceUrl(SPACE, 'web', 8000);
  }, 600_000);

  const seen = async (
    path: string,
    body?: Uint8Array<ArrayBuffer>,
  ): Promise<{ url: string; bytes: number; headers: string[] }> => {
    const answer = await fetch(`${web}${path}`, body === undefined ? {} : { method: 'POST', body });
    expect(answer.status).toBe(200);
    return (await answer.json()) as { url: string; bytes: number; headers: string[] };
  };

  test('each has a limiter', async () => {
    for (const name of ['web', 'store', 'mail']) {
      const [pod] = await weir().pods(SPACE, `app=${name}`);
      expect(pod?.spec.initContainers?.map((each) => each.name)).toEqual(['weir-limiter']);
    }
  });

  test('a WebSocket talks, a path arrives as sent and without additions, 24 MiB arrive', async () => {
    expect(await conversation(`${web}/chat`, 'one', 'two')).toEqual(['one', 'two']);
    const { url, headers } = await seen('/files/a%2Fb//c?x=%2f');
    expect(url).toBe('/files/a%2Fb//c?x=%2f');
    expect(headers.map((each) => each.toLowerCase())).not.toContain('x-forwarded-for');
    expect((await seen('/upload', new Uint8Array(24 * MIB))).bytes).toBe(24 * MIB);
  });

  test('a Redis on a port named db answers Redis', async () => {
    const { hostname } = new URL(await weir().serviceUrl(SPACE, 'store', 6379));
    const redis = new Redis({ host: hostname, port: 6379 });
    const value = 'x'.repeat(2 * MIB);
    expect(await redis.set('key', value)).toBe('OK');
    expect(await redis.get('key')).toBe(value);
    redis.disconnect();
  });

  test('a server that speaks first is heard', async () => {
    const { hostname } = new URL(await weir().serviceUrl(SPACE, 'mail', 2525));
    const socket = connect(2525, hostname);
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    expect(greeting.toString()).toBe('220 mail\r\n');
    socket.write('QUIT\r\n');
    const [farewell] = (await once(socket, 'data')) as [Buffer];
    expect(farewell.toString()).toBe('221 bye\r\n');
    socket.destroy();
  });

  test('an object comes: its model is limited on connections that were open, everything else passes; it goes again', async () => {
    // The client keeps its connections: the limit must reach them.
    expect(tally([await chat(web, 'llama'), await chat(web, 'llama')])).toEqual({ 200: 2 });
    const limit = { name: 'all', measure: 'Requests', bucket: { maxTokens: 2, refillPeriod: '8000h' } };
    await weir().apply(sidecarRoute(`${SPACE}/web`, [limit]));
    await weir().untilCondition(['modelroutes', SPACE, 'web'], 'Ready', { status: 'True', summary: '1/1' });
    const calls = [];
    for (let call = 0; call < 5; call += 1) calls.push(await chat(web, 'llama'));
    expect(calls.map(({ status }) => status)).toEqual([200, 200, 429, 429, 429]);
    expect(await conversation(`${web}/chat`, 'still', 'here')).toEqual(['still', 'here']);
    expect((await seen('/files/a%2Fb//c?x=%2f')).url).toBe('/files/a%2Fb//c?x=%2f');
    expect((await seen('/upload', new Uint8Array(24 * MIB))).bytes).toBe(24 * MIB);
    await weir().kubectl('delete', 'modelroutes.weir.dev', 'web', '-n', SPACE);
    await waitFor(
      'the limit to be gone',
      async () => {
        const { status } = await chat(web, 'llama');
        if (status !== 200) throw new Error(`still ${status}`);
        return true;
      },
      { deadlineMs: 30_000, everyMs: 250 },
    );
    expect(await conversation(`${web}/chat`, 'and', 'still')).toEqual(['and', 'still']);
  });
});
