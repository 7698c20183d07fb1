// The limiter's end of the push against a scripted operator over real TLS: what it asks, applies, answers, keeps.
import { status } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FLEET_RESOURCE_NAME } from '../../../src/contract/limiter-config.ts';
import { isGoodbye, parseRejections } from '../../../src/contract/push-protocol.ts';
import { canonicalJson, toVersioned, versionOf, type VersionedResource } from '../../../src/contract/snapshot.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { ConfigClient, type ConfigClientSettings } from '../../../src/limiter/config/config-client.ts';
import type { ConfigChange, ConfigOutcome } from '../../../src/limiter/config/config-source.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { makePushCertificates, type PushCertificates } from '../../contract/push-certificates.ts';
import { sampleConfig, sampleResource, route } from '../../contract/sample-config.ts';
import { startStallingProxy } from '../../contract/stalling-proxy.ts';
import { startScriptedOperator, type ScriptedOperator } from './config-client-operator.ts';

const undo: (() => void | Promise<void>)[] = [];
const soon = { deadlineMs: 5_000, everyMs: 5 };
const [FIRST, SECOND] = [sampleResource('a', 'r', 1), sampleResource('a', 'r', 2)];
const NAME = FIRST.name;
let certificates: PushCertificates;
let folder: string;
let operator: ScriptedOperator;

beforeAll(async () => {
  certificates = await makePushCertificates();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-client-'));
  await writeFile(join(folder, 'ca.pem'), certificates.ca);
  await writeFile(join(folder, 'token'), 'first-token\n');
  undo.push(() => rm(folder, { recursive: true }));
  operator = await startScriptedOperator(certificates);
  undo.push(() => {
    operator.kill();
  });
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** A runtime that keeps what it is given, and refuses the versions in `refuses`. */
class Runtime {
  readonly inForce = new Map<string, string>();
  readonly changes: ConfigChange[] = [];
  readonly refuses = new Set<string>();

  readonly apply = (change: ConfigChange): ConfigOutcome[] => {
    this.changes.push(change);
    for (const name of change.removals) this.inForce.delete(name);
    return change.updates.map(({ name, version, resource }) => {
      if (this.refuses.has(version)) return { name, version, accepted: false, message: 'lacks limit.window' };
      this.inForce.set(name, canonicalJson(resource));
      return { name, version, accepted: true };
    });
  };
}

async function start(runtime: Runtime, more: Partial<ConfigClientSettings> = {}): Promise<ConfigClient> {
  const client = new ConfigClient({
    operator: `127.0.0.1:${operator.port}`,
    caFile: join(folder, 'ca.pem'),
    tokenFile: join(folder, 'token'),
    self: { nodeId: 'l1', version: '0.1.0', namespaces: ['a'] },
    snapshotPath: join(folder, 'snapshot.json'),
    log: silentLogger(),
    minBackoffMs: 10,
    maxBackoffMs: 50,
    ...more,
  });
  await client.start(runtime.apply);
  undo.push(() => client.close());
  return client;
}

const textOf = (resource: VersionedResource): string => resource.bytes.toString();

describe('a limiter', () => {
  test('says who it is, asks for everything, applies, acknowledges', async () => {
    const runtime = new Runtime();
    await start(runtime);
    const stream = await operator.stream(0);
    expect(stream.token).toBe('Bearer first-token');
    const first = await stream.next();
    expect(first).toMatchObject({ node: { id: 'l1' }, resource_names_subscribe: ['*'], initial_resource_versions: {} });
    expect((await stream.push([FIRST])).error_detail).toBeNull();
    expect(runtime.inForce.get(NAME)).toBe(textOf(FIRST));
    expect((await stream.push([SECOND])).error_detail).toBeNull();
    expect(runtime.inForce.get(NAME)).toBe(textOf(SECOND));
    await stream.push([], { removed_resources: [NAME] });
    expect(runtime.inForce.size).toBe(0);
  });

  test('takes an empty first answer as a snapshot, and keeps it as one', async () => {
    const runtime = new Runtime();
    const client = await start(runtime);
    expect(runtime.changes).toEqual([]);
    await (await operator.stream(0)).next();
    await operator.streams[0]!.push([]);
    expect(runtime.changes).toEqual([{ updates: [], removals: [] }]);
    await client.close();
    const again = new Runtime();
    await start(again);
    expect(again.changes).toEqual([{ updates: [], removals: [] }]);
  });

  test('hands on that a response is continued', async () => {
    const runtime = new Runtime();
    await start(runtime);
    const stream = await operator.stream(0);
    await stream.next();
    await stream.push([FIRST], { system_version_info: 'partial' });
    await stream.push([SECOND]);
    expect(runtime.changes.map(({ isPartial }) => isPartial)).toEqual([true, undefined]);
  });

  test('trap 42: takes a config with fields that it does not know', async () => {
    const runtime = new Runtime();
    await start(runtime);
    const stream = await operator.stream(0);
    await stream.next();
    const future = { ...sampleConfig(route('a', 'r'), 1), futureField: { deep: true } };
    expect((await stream.push([toVersioned(NAME, future)])).error_detail).toBeNull();
    expect(runtime.inForce.has(NAME)).toBe(true);
  });
});

describe('trap 41: a NACK', () => {
  test('names what was refused and why; the rest of the response is in force, the last good version too', async () => {
    const runtime = new Runtime();
    await start(runtime);
    const stream = await operator.stream(0);
    await stream.next();
    await stream.push([FIRST]);
    runtime.refuses.add(SECOND.version);
    const other = sampleResource('a', 'other');
    const answer = await stream.push([SECOND, other]);
    expect(parseRejections(answer.error_detail?.message ?? '')).toEqual([
      { name: NAME, version: SECOND.version, message: 'lacks limit.window' },
    ]);
    expect([...runtime.inForce]).toEqual([
      [NAME, textOf(FIRST)],
      [other.name, textOf(other)],
    ]);
    stream.end(status.UNAVAILABLE);
    const again = await (await operator.stream(1)).next();
    expect(again.initial_resource_versions).toEqual({ [NAME]: FIRST.version, [other.name]: other.version });
  });

  test('is the answer to what cannot be read, and repeats nothing of it', async () => {
    const runtime = new Runtime();
    await start(runtime);
    const stream = await operator.stream(0);
    await stream.next();
    const broken = (name: string, text: string): VersionedResource => {
      const bytes = Buffer.from(text);
      return { name, version: versionOf(bytes), bytes };
    };
    const bad = [
      broken('ModelRoute/a/1', '{"password":"hunter2"'),
      broken('ModelRoute/a/2', 'null'),
      broken('ModelRoute/a/3', textOf(FIRST)),
      broken(FLEET_RESOURCE_NAME, textOf(FIRST)),
    ];
    const answer = await stream.push([...bad, FIRST]);
    const rejections = parseRejections(answer.error_detail?.message ?? '') ?? [];
    expect(rejections.map(({ name }) => name)).toEqual(bad.map(({ name }) => name));
    expect(answer.error_detail?.message).not.toContain('hunter2');
    expect([...runtime.inForce.keys()]).toEqual([NAME]);
  });

  test('is the answer when the runtime fails', async () => {
    const client = new ConfigClient({
      operator: `127.0.0.1:${operator.port}`,
      caFile: join(folder, 'ca.pem'),
      tokenFile: join(folder, 'token'),
      self: { nodeId: 'l1', version: '0' },
      log: silentLogger(),
    });
    await client.start(() => {
      throw new Error('out of luck');
    });
    undo.push(() => client.close());
    const stream = await operator.stream(0);
    await stream.next();
    expect((await stream.push([FIRST])).error_detail?.message).toContain('out of luck');
  });
});

describe('without an operator', () => {
  test('a limiter serves what it kept, and asks only for what differs when the operator is there', async () => {
    const first = await start(new Runtime());
    const stream = await operator.stream(0);
    await stream.next();
    await stream.push([FIRST]);
    await first.close();
    const { port } = operator;
    operator.kill();
    const runtime = new Runtime();
    await start(runtime);
    expect(runtime.inForce.get(NAME)).toBe(textOf(FIRST));
    operator = await startScriptedOperator(certificates, port);
    const request = await (await operator.stream(0)).next();
    expect(request.initial_resource_versions).toEqual({ [NAME]: FIRST.version });
  });

  test('a limiter does not claim what it kept but does not take any more', async () => {
    const first = await start(new Runtime());
    const stream = await operator.stream(0);
    await stream.next();
    await stream.push([FIRST]);
    await first.close();
    const runtime = new Runtime();
    runtime.refuses.add(FIRST.version);
    await start(runtime);
    expect((await (await operator.stream(1)).next()).initial_resource_versions).toEqual({});
  });

  test('a damaged file is no snapshot', async () => {
    await writeFile(join(folder, 'snapshot.json'), '{"formatVersion":1');
    const runtime = new Runtime();
    await start(runtime);
    expect(runtime.changes).toEqual([]);
    expect((await (await operator.stream(0)).next()).initial_resource_versions).toEqual({});
  });

  test('the configs stay in force and the limiter keeps looking; token and CA are read again', async () => {
    const runtime = new Runtime();
    const seen: boolean[] = [];
    await start(runtime, { observer: { connected: (isConnected) => void seen.push(isConnected) } });
    const stream = await operator.stream(0);
    await stream.next();
    await stream.push([FIRST]);
    const { port } = operator;
    operator.kill();
    await waitFor('the loss', () => (seen.includes(false) ? true : undefined), soon);
    expect(runtime.inForce.has(NAME)).toBe(true);
    const renewed = await makePushCertificates();
    await writeFile(join(folder, 'token'), 'second-token');
    await writeFile(join(folder, 'ca.pem'), renewed.ca);
    operator = await startScriptedOperator(renewed, port);
    const again = await operator.stream(0);
    expect(again.token).toBe('Bearer second-token');
  });

  test('an operator whose certificate is not of the CA, or of another host, is told nothing', async () => {
    await writeFile(join(folder, 'ca.pem'), (await makePushCertificates()).ca);
    const troubles: boolean[] = [];
    const observer = { connected: (isConnected: boolean): void => void troubles.push(isConnected) };
    await start(new Runtime(), { observer });
    await waitFor('three attempts', () => troubles[2] !== undefined || undefined, soon);
    await writeFile(join(folder, 'ca.pem'), certificates.ca);
    await operator.stream(0);
    operator.kill();
    operator = await startScriptedOperator(await makePushCertificates(['elsewhere.test']), operator.port);
    const before = troubles.length;
    await waitFor('three more attempts', () => troubles[before + 3] !== undefined || undefined, soon);
    expect(operator.streams).toEqual([]);
    expect(troubles).not.toContain(true);
  });

  test('an operator that goes silent is noticed within two keepalive periods', async () => {
    const proxy = await startStallingProxy(operator.port);
    undo.push(() => proxy.close());
    const seen: boolean[] = [];
    await start(new Runtime(), {
      operator: `localhost:${proxy.port}`,
      keepaliveMs: 100,
      observer: { connected: (isConnected) => void seen.push(isConnected) },
    });
    const stream = await operator.stream(0);
    await stream.next();
    await stream.push([]);
    proxy.stall();
    await waitFor('the loss', () => (seen.includes(false) ? true : undefined), soon);
    proxy.heal();
    await operator.stream(1);
  });

  test('who looked for an operator that was away makes one connection to it when it is back', async () => {
    const { port } = operator;
    operator.kill();
    let attempts = 0;
    await start(new Runtime(), { connectMs: 1_500, observer: { connected: () => void (attempts += 1) } });
    await waitFor('five attempts', () => attempts >= 5 || undefined, soon);
    const connections: Socket[] = [];
    // It says nothing, so that the first attempt that reaches it is also the last until it is given up.
    const back = createServer((socket) => connections.push(socket.on('error', () => undefined))).listen(port);
    undo.push(() => {
      for (const socket of connections) socket.destroy();
      back.close();
    });
    await waitFor('the connection', () => connections[0], soon);
    const before = attempts;
    await waitFor('the end of that attempt', () => attempts > before || undefined, soon);
    expect(connections.length).toBe(1);
  });

  test('an operator that accepts but never answers is left', async () => {
    await start(new Runtime(), { firstAnswerMs: 50 });
    await operator.stream(1);
    await waitFor('the end of the first', () => operator.streams[0]?.isOver || undefined, soon);
  });
});

test('a limiter that closes says goodbye', async () => {
  const client = await start(new Runtime());
  const stream = await operator.stream(0);
  await stream.next();
  await stream.push([]);
  const closed = client.close();
  expect(isGoodbye(await stream.next())).toBe(true);
  stream.end(status.OK);
  await closed;
});
