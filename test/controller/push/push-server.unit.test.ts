// The push port over real TLS on loopback: who gets in, what goes over the wire, what ends a stream.
import { status } from '@grpc/grpc-js';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { FLEET_RESOURCE_NAME, type FleetConfig, type ObjectRef } from '../../../src/contract/limiter-config.ts';
import { formatRejections, loadPushProtocol } from '../../../src/contract/push-protocol.ts';
import type { AdmissionResult } from '../../../src/controller/push/authenticator.ts';
import { knownLimitersIn, publishFleet, sharedLimitersIn } from '../../../src/controller/push/fleet.ts';
import type { LimiterView } from '../../../src/controller/push/visibility.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { makePushCertificates } from '../../contract/push-certificates.ts';
import type { RawLimiter } from '../../contract/raw-limiter.ts';
import { sampleResource } from '../../contract/sample-config.ts';
import { startStallingProxy } from '../../contract/stalling-proxy.ts';
import { atEnd, certificates, endAll, podAuthenticator, prepareCertificates, start, TOKEN, track } from './push-rig.ts';

const refOf = (name: string): ObjectRef => ({ kind: 'ModelRoute', namespace: 'a', name });

beforeAll(prepareCertificates);
afterEach(endAll);

const soon = { deadlineMs: 5_000, everyMs: 5 };
const named = (name: string): string => `ModelRoute/a/${name}`;
const ofApp = (app: string) => ({ namespace: 'a', workloadSelector: { matchLabels: { app } } });

describe('a stream', () => {
  test('gets what there is, then what changes, then what is removed; the table follows its answers', async () => {
    const { store, acks, limiter } = await start();
    const first = sampleResource('a', 'r', 1);
    store.set(first, { namespace: 'a' });
    const raw = limiter().subscribe();
    const initial = await raw.next();
    expect(initial.resources).toMatchObject([{ name: named('r'), version: first.version }]);
    expect(acks.statesOf(named('r'))[0]?.ackedVersion).toBeUndefined();
    raw.ack(initial);
    await waitFor('the ACK', () => acks.statesOf(named('r'))[0]?.ackedVersion, soon);
    const second = sampleResource('a', 'r', 2);
    store.set(second, { namespace: 'a' });
    const update = await raw.next();
    expect(update.resources).toMatchObject([{ version: second.version }]);
    raw.ack(update, formatRejections([{ name: named('r'), version: second.version, message: 'no' }]));
    await waitFor('the NACK', () => acks.statesOf(named('r'))[0]?.rejected, soon);
    expect(acks.statesOf(named('r'))).toMatchObject([{ ackedVersion: first.version, rejected: { message: 'no' } }]);
    store.remove(named('r'));
    expect((await raw.next()).removed_resources).toEqual([named('r')]);
  });

  test('that answers nothing delays no other, and many changes reach it as one', async () => {
    const { store, limiter } = await start({ authenticate: podAuthenticator() });
    const deaf = limiter('pod-x').subscribe();
    const other = limiter('pod-y').subscribe();
    const held = await deaf.next();
    other.ack(await other.next());
    for (let burst = 1; burst <= 20; burst += 1) {
      const resource = sampleResource('a', 'r', burst);
      store.set(resource, { namespace: 'a' });
      store.set(sampleResource('a', 'x', burst), ofApp('x'));
      store.set(sampleResource('a', 'y', burst), ofApp('y'));
      const update = await other.next();
      expect(update.resources).toMatchObject([{ name: named('y') }]);
      other.ack(update);
    }
    expect(deaf.responses).toHaveLength(1);
    deaf.ack(held);
    expect((await deaf.next()).resources).toMatchObject([{ version: sampleResource('a', 'x', 20).version }]);
  });

  test('of a reconnected limiter gets only what differs', async () => {
    const { store, acks, limiter } = await start();
    const [kept, changed] = [sampleResource('a', 'kept'), sampleResource('a', 'changed', 2)];
    for (const resource of [kept, changed]) store.set(resource, { namespace: 'a' });
    const versions = { [kept.name]: kept.version, [changed.name]: 'old', [named('gone')]: 'x' };
    const raw = limiter().subscribe({}, { initial_resource_versions: versions });
    const response = await raw.next();
    expect(response.resources.map(({ name }) => name)).toEqual([changed.name]);
    expect(response.removed_resources).toEqual([named('gone')]);
    expect(acks.statesOf(kept.name)).toMatchObject([{ ackedVersion: kept.version }]);
  });

  test('is told how many limiters there are, and how many of them are shared', async () => {
    const { store, acks, limiter } = await start();
    atEnd(publishFleet(store, acks, { egressAllow: ['10.0.0.0/8'], debounceMs: 20 }));
    const one = limiter().subscribe({ nodeId: 'one' });
    expect(await fleetUntil(one, ({ knownLimiters }) => knownLimiters === 1)).toMatchObject({
      egressAllow: ['10.0.0.0/8'],
    });
    limiter().subscribe({ nodeId: 'two' });
    expect(await fleetUntil(one, ({ knownLimiters }) => knownLimiters === 2)).toMatchObject({ sharedLimiters: 2 });
  });
});

/** Acknowledges until a Fleet is as wanted; all that were told before it are of no account. */
async function fleetUntil(raw: RawLimiter, is: (fleet: FleetConfig) => boolean): Promise<FleetConfig> {
  for (;;) {
    const response = await raw.next();
    raw.ack(response);
    const fleets = response.resources.filter(({ name }) => name === FLEET_RESOURCE_NAME);
    for (const resource of fleets) {
      const fleet = JSON.parse(loadPushProtocol().decode(resource).bytes.toString()) as FleetConfig;
      if (is(fleet)) return fleet;
    }
  }
}

test('the fleet is not told smaller than it was before this operator until its limiters had time to come back', async () => {
  const { store, acks, limiter } = await start();
  const before = knownLimitersIn([
    { limiters: { desired: 2 } },
    undefined,
    { limiters: { desired: 3 } },
    { limiters: 'x' },
  ]);
  const shared = sharedLimitersIn(
    [
      { ref: refOf('a'), status: { limiters: { desired: 5 } } },
      { ref: refOf('b'), status: { limiters: { desired: 1 } } },
      { ref: refOf('c') },
    ],
    ({ name }) => (name === 'a' ? 3 : 0),
  );
  expect([before, shared]).toEqual([3, 2]);
  const settings = { egressAllow: [], knownBefore: before, sharedBefore: shared, settleMs: 300, debounceMs: 10 };
  atEnd(publishFleet(store, acks, settings));
  const raw = limiter().subscribe();
  const first = await fleetUntil(raw, () => true);
  expect(first).toMatchObject({ knownLimiters: 3, sharedLimiters: 2 });
  const next = await fleetUntil(raw, ({ knownLimiters }) => knownLimiters !== 3);
  expect(next).toMatchObject({ knownLimiters: 1, sharedLimiters: 1 });
});

test('a shared limiter is let in, and the namespaces that it asks for or has configs of, and that nobody watches, are told', async () => {
  const seen: string[] = [];
  const view: LimiterView = { kind: 'shared', namespaces: ['a', 'b', 'c'] };
  const { limiter } = await start({
    watched: ['a'],
    onUnwatched: (namespaces) => void seen.push(...namespaces),
    authenticate: () => Promise.resolve({ admitted: true, limiterId: 'l', view }),
  });
  const held = { 'ModelRoute/a/r': 'v', 'ModelRoute/c/r': 'v', 'ModelRoute/d/r': 'v', 'Fleet/-/-': 'v' };
  const first = await limiter().subscribe({}, { initial_resource_versions: held }).next();
  expect([seen.sort(), first.removed_resources]).toEqual([['b', 'c'], expect.arrayContaining(['ModelRoute/a/r'])]);
  expect(first.removed_resources).not.toContain('ModelRoute/c/r');
});

test('a sidecar tells nothing of namespaces that are not its own, whatever it says that it has', async () => {
  const seen: string[] = [];
  const { limiter } = await start({
    watched: ['a'],
    onUnwatched: (namespaces) => void seen.push(...namespaces),
    authenticate: podAuthenticator(),
  });
  await limiter('pod-web')
    .subscribe({}, { initial_resource_versions: { 'ModelRoute/b/r': 'v' } })
    .next();
  expect(seen).toEqual([]);
});

test('the log names a sidecar by its pod, not by a UID', async () => {
  const { log, lines } = capturingLogger();
  const { limiter } = await start({ log, authenticate: podAuthenticator() });
  const raw = limiter('pod-web').subscribe();
  await raw.next();
  raw.goodbye();
  await raw.end();
  const told = lines.map((line) => JSON.parse(line) as { message: string; limiter: string });
  expect(told.map((line) => [line.message, line.limiter])).toEqual([
    ['limiter connected', 'a/web'],
    ['limiter disconnected', 'a/web'],
  ]);
});

describe('nobody gets in', () => {
  const isRefused = async (raw: RawLimiter, code: status): Promise<string> => {
    const ended = await raw.end();
    expect(status[ended.code]).toBe(status[code]);
    expect(raw.responses).toEqual([]);
    return ended.details;
  };

  test('without a token, or with a wrong one', async () => {
    const { log, lines } = capturingLogger();
    const { port, limiter } = await start({ log });
    await isRefused(track({ port, ca: certificates.ca }).subscribe(), status.UNAUTHENTICATED);
    const details = await isRefused(limiter('wrong-token').subscribe(), status.UNAUTHENTICATED);
    expect(lines).toHaveLength(2);
    expect(JSON.stringify([details, lines])).not.toContain('wrong-token');
  });

  test('whose namespace is not watched: it hears why each time, the log once a minute, and others who care at once', async () => {
    const { log, lines } = capturingLogger();
    const seen: string[] = [];
    const message = 'namespace x is not watched';
    const refusal: AdmissionResult = { admitted: false, reason: 'denied', message, unwatched: ['x'] };
    const onUnwatched = (namespaces: Iterable<string>): void => void seen.push(...namespaces);
    const { limiter } = await start({ log, onUnwatched, authenticate: () => Promise.resolve(refusal) });
    for (let turn = 0; turn < 3; turn++) {
      expect(await isRefused(limiter().subscribe(), status.PERMISSION_DENIED)).toBe(message);
    }
    expect(seen).toEqual(['x', 'x', 'x']);
    const warnings = lines.filter((line) => line.includes('"warn"'));
    expect(warnings).toEqual([expect.stringContaining(message)]);
  });

  test('who does not say in time who it is', async () => {
    const { limiter } = await start({ firstRequestMs: 50 });
    await isRefused(limiter(), status.DEADLINE_EXCEEDED);
  });

  test.each([
    ['another type', { type_url: 'type.googleapis.com/x' }],
    ['single names', { resource_names_subscribe: [named('r')] }],
    ['no node', { node: null }],
  ])('who asks for %s', async (_what, more) => {
    const { limiter } = await start();
    await isRefused(limiter().subscribe({}, more), status.INVALID_ARGUMENT);
  });

  test('who sends a first request beyond the size limit', async () => {
    const { limiter } = await start();
    const versions = { [named('r')]: 'x'.repeat(9 * 1024 * 1024) };
    await isRefused(limiter().subscribe({}, { initial_resource_versions: versions }), status.RESOURCE_EXHAUSTED);
  });

  test('while the lease is held by another', async () => {
    let isHolder = false;
    const { limiter, server } = await start({ isHolder: () => isHolder });
    await isRefused(limiter().subscribe(), status.UNAVAILABLE);
    isHolder = true;
    const raw = limiter().subscribe();
    await raw.next();
    server.endStreams('the lease is lost');
    expect((await raw.end()).code).toBe(status.UNAVAILABLE);
  });

  test('who is denied, or cannot be judged now', async () => {
    for (const [reason, code] of [
      ['denied', status.PERMISSION_DENIED],
      ['unavailable', status.UNAVAILABLE],
    ] as const) {
      const { limiter } = await start({
        authenticate: () => Promise.resolve({ admitted: false, reason, message: 'no' }),
      });
      await isRefused(limiter().subscribe(), code);
    }
  });
});

describe('a stream ends', () => {
  test('when its token expires', async () => {
    const { limiter } = await start({ authenticate: podAuthenticator({ expiresAtMs: Date.now() + 200 }) });
    const raw = limiter('pod-x').subscribe();
    await raw.next();
    expect(await raw.end()).toMatchObject({ code: status.UNAUTHENTICATED });
  });

  test('when its pod is deleted, and the limiter is forgotten at once', async () => {
    const { limiter, server, acks } = await start({ authenticate: podAuthenticator() });
    const raw = limiter('pod-x').subscribe();
    await raw.next();
    server.removePod('x');
    expect(await raw.end()).toMatchObject({ code: status.UNAUTHENTICATED });
    expect(acks.count()).toEqual({ connected: 0, known: 0 });
    const again = limiter('pod-x').subscribe();
    expect(await again.end()).toMatchObject({ code: status.UNAUTHENTICATED });
  });

  test('when the same limiter connects again, which replaces it', async () => {
    const { limiter, acks } = await start();
    const old = limiter().subscribe();
    await old.next();
    const young = limiter().subscribe();
    await young.next();
    expect(await old.end()).toMatchObject({ code: status.ABORTED });
    expect(acks.count()).toEqual({ connected: 1, known: 1 });
  });

  test('when the limiter says goodbye, which forgets it at once', async () => {
    const { limiter, acks } = await start();
    const raw = limiter().subscribe();
    await raw.next();
    raw.goodbye();
    expect(await raw.end()).toMatchObject({ code: status.OK });
    expect(acks.count().known).toBe(0);
  });

  test('when the limiter goes silent: within two keepalive periods; it stays seen for a while', async () => {
    const { port, acks } = await start({ keepaliveMs: 100, table: { lostAfterMs: 20, seenForMs: 300 } });
    const proxy = await startStallingProxy(port);
    atEnd(() => proxy.close());
    const raw = track({ port: proxy.port, ca: certificates.ca, token: TOKEN }).subscribe();
    await raw.next();
    proxy.stall();
    await waitFor('the loss', () => (acks.count().connected === 0 ? true : undefined), soon);
    expect(acks.count().known).toBe(1);
    await waitFor('the end of its time', () => (acks.count().known === 0 ? true : undefined), soon);
  });

  test('when the operator shuts down, which then holds no port', async () => {
    const { limiter, server } = await start();
    const raw = limiter().subscribe();
    await raw.next();
    await server.close(1_000);
    expect(await raw.end()).toMatchObject({ code: status.UNAVAILABLE });
    const late = limiter().subscribe();
    expect(await late.end()).toMatchObject({ code: status.UNAVAILABLE });
  });
});

test('a shutdown does not wait for who never ends the handshake', async () => {
  const { server, port } = await start();
  const socket = connect({ port, host: '127.0.0.1' });
  atEnd(() => void socket.destroy());
  const ended = once(socket, 'close');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  await new Promise((resolve) => setImmediate(resolve));
  await server.close(100);
  socket.resume();
  await ended;
}, 5_000);

test('a change of the labels of a pod is followed', async () => {
  const { store, limiter, server } = await start({ authenticate: podAuthenticator() });
  store.set(sampleResource('a', 'x'), ofApp('x'));
  store.set(sampleResource('a', 'y'), ofApp('y'));
  const raw = limiter('pod-x').subscribe();
  const first = await raw.next();
  expect(first.resources.map(({ name }) => name)).toEqual([named('x')]);
  raw.ack(first);
  server.setPod({ namespace: 'a', name: 'x', uid: 'x', labels: { app: 'y' } });
  const second = await raw.next();
  expect(second.resources.map(({ name }) => name)).toEqual([named('y')]);
  expect(second.removed_resources).toEqual([named('x')]);
});

test('new connections get a replaced certificate', async () => {
  const { limiter, server, port } = await start();
  await limiter().subscribe().next();
  const renewed = await makePushCertificates();
  server.replaceCertificate(renewed.tls);
  await track({ port, ca: renewed.ca, token: TOKEN }).subscribe({ nodeId: 'new' }).next();
  expect(await limiter().subscribe().end()).toMatchObject({ code: status.UNAVAILABLE });
});
