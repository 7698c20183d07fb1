// helm test: what this release's pods answer, from inside the cluster. Exits with 1 and says what failed.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';

const { OPERATOR, ADMIN, WEBHOOK, REDIS, LIMITER } = process.env;
const ca = readFileSync('/var/run/weir/ca/ca.crt');
const within = 10_000;

async function attempt(what, check) {
  for (const end = Date.now() + 60_000; ; ) {
    try {
      await check();
      console.log(`ok: ${what}`);
      return true;
    } catch (error) {
      if (Date.now() > end) {
        console.log(`FAILED: ${what}: ${error.message}`);
        return false;
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function isReady(host) {
  const answer = await fetch(`http://${host}/readyz`, { signal: AbortSignal.timeout(within) });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
}

const settled = (socket, event) =>
  new Promise((resolve, reject) => {
    socket.setTimeout(within, () => socket.destroy(new Error('no answer')));
    socket.once(event, resolve).once('error', reject);
  }).finally(() => socket.destroy());

/** The leader's port, by the name and the CA that limiters use. */
async function push() {
  const [host, port] = OPERATOR.split(':');
  await settled(connectTls({ host, port: Number(port), servername: host, ca, ALPNProtocols: ['h2'] }), 'secureConnect');
}

/** A pod that is nobody's is sent through the injector: it must come back with a limiter. */
async function inject() {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'check', namespace: 'default', labels: { 'weir.dev/inject': 'true' } },
    spec: { containers: [{ name: 'web', image: 'web', ports: [{ name: 'http', containerPort: 8000 }] }] },
  };
  const review = {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'check',
      kind: { group: '', version: 'v1', kind: 'Pod' },
      resource: { group: '', version: 'v1', resource: 'pods' },
      namespace: 'default',
      operation: 'CREATE',
      dryRun: true,
      userInfo: {},
      object: pod,
    },
  };
  const { response } = await post(JSON.stringify(review));
  const patch = Buffer.from(response?.patch ?? '', 'base64').toString();
  if (response?.allowed !== true || !patch.includes('limiter')) throw new Error(JSON.stringify(response));
}

function post(body) {
  const [host, port] = WEBHOOK.split(':');
  const headers = { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const call = request({ host, port, servername: host, ca, path: '/inject', method: 'POST', headers, timeout: within });
    call.once('timeout', () => call.destroy(new Error('no answer'))).once('error', reject);
    call.once('response', (answer) => {
      answer
        .toArray()
        .then((parts) => resolve(JSON.parse(Buffer.concat(parts).toString())))
        .catch(reject);
    });
    call.end(body);
  });
}

/** It answers, and only to whoever has the password. */
async function redis() {
  const [host, port] = REDIS.split(':');
  const socket = connectTcp({ host, port: Number(port) });
  socket.write('PING\r\n');
  const answer = String(await settled(socket, 'data'));
  if (!answer.startsWith('-NOAUTH')) throw new Error(`expected a demand for the password, got ${answer}`);
}

const results = [await attempt(`operator ${ADMIN} is ready`, () => isReady(ADMIN))];
results.push(await attempt(`${OPERATOR} serves limiters, with the certificate that they trust`, push));
if (WEBHOOK) results.push(await attempt(`${WEBHOOK} injects`, inject));
if (REDIS) results.push(await attempt(`${REDIS} answers, and asks for the password`, redis));
if (LIMITER) results.push(await attempt(`shared limiter ${LIMITER} is ready`, () => isReady(LIMITER)));
process.exitCode = results.every(Boolean) ? 0 : 1;
