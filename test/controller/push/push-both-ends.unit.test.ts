// Operator and limiter over the real push: what one sets, the other has in force, and the table says so.
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AckTable } from '../../../src/controller/push/ack-table.ts';
import { createStaticAuthenticator } from '../../../src/controller/push/authenticator.ts';
import { issueLeaf, makeAuthority } from '../../../src/controller/certificates/certificate-authority.ts';
import { PushServer } from '../../../src/controller/push/push-server.ts';
import type { PushObserver } from '../../../src/controller/push/push-session.ts';
import { SnapshotStore } from '../../../src/controller/push/snapshot-store.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { ConfigClient } from '../../../src/limiter/config/config-client.ts';
import type { ApplyConfigs, ConfigChange } from '../../../src/limiter/config/config-source.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { makePushCertificates, type PushCertificates } from '../../contract/push-certificates.ts';
import { sampleResource } from '../../contract/sample-config.ts';

interface Operator {
  readonly store: SnapshotStore;
  readonly acks: AckTable;
  readonly server: PushServer;
  readonly port: number;
  /** Resources sent, over all limiters. */
  readonly sent: { count: number };
}

const undo: (() => void | Promise<void>)[] = [];
let certificates: PushCertificates;
let folder: string;

beforeAll(async () => {
  certificates = await makePushCertificates();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-push-'));
  undo.push(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'ca.pem'), certificates.ca);
  await writeFile(join(folder, 'token'), 'secret');
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function startOperator(fill: (store: SnapshotStore) => void, port = 0): Promise<Operator> {
  const store = new SnapshotStore();
  fill(store);
  const acks = new AckTable((view) => store.namesSeenBy(view));
  const sent = { count: 0 };
  const observer: PushObserver = { sent: (resources) => void (sent.count += resources) };
  const server = new PushServer(
    { store, acks, authenticate: createStaticAuthenticator('secret'), log: silentLogger(), observer },
    { host: '127.0.0.1', port, tls: certificates.tls },
  );
  const bound = await server.listen();
  undo.push(() => server.close(100));
  return { store, acks, server, port: bound, sent };
}

/** A limiter that has what it is given, as name -> version. */
async function startLimiter(port: number, nodeId: string): Promise<Map<string, string>> {
  const inForce = new Map<string, string>();
  const apply: ApplyConfigs = ({ updates, removals }: ConfigChange) => {
    for (const name of removals) inForce.delete(name);
    return updates.map(({ name, version }) => {
      inForce.set(name, version);
      return { name, version, accepted: true };
    });
  };
  const client = new ConfigClient({
    operator: `127.0.0.1:${port}`,
    caFile: join(folder, 'ca.pem'),
    tokenFile: join(folder, 'token'),
    self: { nodeId, version: '0.1.0' },
    snapshotPath: join(folder, nodeId, 'snapshot.json'),
    log: silentLogger(),
    minBackoffMs: 10,
    maxBackoffMs: 50,
  });
  await client.start(apply);
  undo.push(() => client.close());
  return inForce;
}

/** Waits until every limiter acknowledged the current version of every resource. */
async function allAcknowledged({ store, acks }: Operator, limiters: number): Promise<void> {
  const syncedOf = (name: string): number =>
    acks
      .statesOf(name)
      .filter(({ limiter, ackedVersion }) => limiter.connected && ackedVersion === store.get(name)?.resource.version)
      .length;
  const seen = (): string[] => [...store.namesSeenBy({ kind: 'shared', namespaces: 'all' })];
  await waitFor('all ACKs', () => seen().every((name) => syncedOf(name) === limiters) || undefined, {
    deadlineMs: 8_000,
    everyMs: 10,
    progress: () => seen().reduce((sum, name) => sum + syncedOf(name), 0),
  });
}

function fillWith(count: number, padding = ''): (store: SnapshotStore) => void {
  return (store) => {
    for (let index = 0; index < count; index += 1) {
      store.set(sampleResource('a', `r${index}`, 1, padding), { namespace: 'a' });
    }
  };
}

describe('operator and limiters', () => {
  test('agree on a snapshot of many responses, and trap 50: an edit sends one resource to each', async () => {
    const operator = await startOperator(fillWith(300, 'x'.repeat(20_000)));
    const inForce = [await startLimiter(operator.port, 'l1'), await startLimiter(operator.port, 'l2')];
    await allAcknowledged(operator, 2);
    const before = operator.sent.count;
    expect(before).toBe(600);
    const edit = sampleResource('a', 'r7', 2);
    operator.store.set(edit, { namespace: 'a' });
    await allAcknowledged(operator, 2);
    expect(operator.sent.count - before).toBe(2);
    expect(inForce.map((versions) => versions.get(edit.name))).toEqual([edit.version, edit.version]);
  });

  test('agree again after the operator was started anew, and nothing is sent twice', async () => {
    const first = await startOperator(fillWith(50));
    const inForce = await startLimiter(first.port, 'l1');
    await allAcknowledged(first, 1);
    await first.server.close(100);
    const second = await startOperator((store) => {
      fillWith(50)(store);
      store.remove('ModelRoute/a/r3');
      store.set(sampleResource('a', 'r4', 2), { namespace: 'a' });
    }, first.port);
    await allAcknowledged(second, 1);
    await waitFor('the removal', () => !inForce.has('ModelRoute/a/r3') || undefined, { deadlineMs: 5_000, everyMs: 5 });
    expect(second.sent.count).toBe(1);
    expect(inForce.size).toBe(49);
  });

  test('go on over a change of CA: the open stream stays, and a limiter that was refused comes in when its file is renewed', async () => {
    const operator = await startOperator(fillWith(1));
    await startLimiter(operator.port, 'l1');
    await allAcknowledged(operator, 1);
    const endsMs = Date.now() + 3_600_000;
    const other = await makeAuthority(endsMs);
    operator.server.replaceCertificate(await issueLeaf(other, ['127.0.0.1'], endsMs));
    const inForce = await startLimiter(operator.port, 'l2');
    await expect(
      waitFor('what must not come', () => inForce.size || undefined, { deadlineMs: 300, everyMs: 10 }),
    ).rejects.toThrow();
    expect(operator.acks.count().connected).toBe(1);
    // As the kubelet renews a volume: the name is turned to another file.
    await writeFile(join(folder, 'bundle.pem'), `${certificates.ca}\n${other.cert}`);
    await symlink('bundle.pem', join(folder, 'ca.tmp'));
    await rename(join(folder, 'ca.tmp'), join(folder, 'ca.pem'));
    await allAcknowledged(operator, 2);
    operator.store.set(sampleResource('a', 'r0', 2), { namespace: 'a' });
    await allAcknowledged(operator, 2);
    expect(operator.sent.count).toBe(4);
  });

  test('a limiter that is not there is not counted as having what it was sent', async () => {
    const operator = await startOperator(fillWith(1));
    await startLimiter(operator.port, 'l1');
    await allAcknowledged(operator, 1);
    const [step] = undo.splice(-1);
    await step?.();
    await waitFor('the goodbye', () => operator.acks.count().known === 0 || undefined, {
      deadlineMs: 5_000,
      everyMs: 5,
    });
    expect(operator.acks.statesOf('ModelRoute/a/r0')).toEqual([]);
  });
});
