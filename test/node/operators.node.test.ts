// On a real node 2 and 9: two operators in pods. The leader is killed, told to stop and paused; what limiters hold
// and what the API server's audit log has are the witnesses.
import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { conditionOf } from '../e2e/harness.ts';
import { tally } from '../e2e/traffic.ts';
import { describeInstalled, SYSTEM, type Installed } from './installed.ts';
import { processesOf } from './pod-processes.ts';
import { namespace, sidecarRoute, workload } from './workloads.ts';

const SPACE = 'operators';
/** A change made while the lease changes hands is in force within this. */
const IN_FORCE_WITHIN_MS = 20_000;
const HANDED_OVER_WITHIN_MS = 2000;
const LEASE_MS = 10_000;

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly acquireTime?: string;
  readonly renewTime?: string;
}

describeInstalled(
  'two operators',
  [namespace(SPACE, { 'weir.dev/inject': 'true' })],
  (weir) => {
    const route = (maxTokens: number, more: object = {}): object =>
      sidecarRoute(`${SPACE}/chat`, [
        { name: 'all', measure: 'Requests', bucket: { maxTokens, refillPeriod: '8000h' }, ...more },
      ]);
    const ref = ['modelroutes', SPACE, 'chat'] as const;

    beforeAll(async () => {
      await weir().apply(...workload({ namespace: SPACE, name: 'chat', image: weir().image, replicas: 2 }), route(10));
      await weir().rolledOut(SPACE, 'chat');
      await weir().untilCondition([...ref], 'Ready', { status: 'True', summary: '2/2' });
      expect(tally(await weir().ask(SPACE, 'chat', 15))).toEqual({ 200: 10, 429: 5 });
    });

    test('one holds the lease, and the Service for limiters leads to it alone', async () => {
      const leaders = await weir().pods(SYSTEM, 'weir.dev/leader=true');
      expect(leaders.map(({ metadata }) => metadata.name)).toEqual([podOf(await lease(weir()))]);
    });

    describe('the leader is killed with -9 in the middle of edits', () => {
      test('an edit made meanwhile is in force within 20 s, and what was used is kept', async () => {
        const before = await lease(weir());
        await kill(weir(), before, 'SIGKILL');
        const began = performance.now();
        await weir().apply(route(20));
        await weir().untilCondition([...ref], 'Ready', { status: 'True', summary: '2/2' }, IN_FORCE_WITHIN_MS);
        expect(performance.now() - began).toBeLessThan(IN_FORCE_WITHIN_MS);
        expect(tally(await weir().ask(SPACE, 'chat', 15))).toEqual({ 200: 10, 429: 5 });
      });

      test('an edit that only the status refuses: the last good limit holds under the next leader', async () => {
        await weir().apply(route(20, { when: [{ path: { regex: '(' } }] }));
        await weir().untilCondition([...ref], 'Accepted', { status: 'False', reason: 'Invalid' });
        await bothReady(weir());
        await kill(weir(), await lease(weir()), 'SIGKILL');
        await newHolder(weir(), await lease(weir()), IN_FORCE_WITHIN_MS);
        const object = await weir().untilCondition([...ref], 'Programmed', { status: 'True', summary: '2/2' });
        expect(conditionOf(object, 'Accepted')?.status).toBe('False');
        expect(tally(await weir().ask(SPACE, 'chat', 5))).toEqual({ 429: 5 });
        await weir().apply(route(30));
        await weir().untilCondition([...ref], 'Ready', { status: 'True', summary: '2/2' });
        expect(tally(await weir().ask(SPACE, 'chat', 15))).toEqual({ 200: 10, 429: 5 });
      });
    });

    test('told to stop, it hands over within 2 s', async () => {
      await bothReady(weir());
      const before = await lease(weir());
      const told = Date.now();
      await weir().kubectl('delete', 'pod', podOf(before), '-n', SYSTEM, '--wait=false');
      const after = await newHolder(weir(), before, IN_FORCE_WITHIN_MS);
      expect(Date.parse(after.acquireTime ?? '') - told).toBeLessThan(HANDED_OVER_WITHIN_MS);
    });

    test('paused for longer than its lease and woken: no status of its own after the new leader took over', async () => {
      await bothReady(weir());
      const before = await lease(weir());
      const old = podOf(before);
      await kill(weir(), before, 'SIGSTOP');
      const after = await newHolder(weir(), before, IN_FORCE_WITHIN_MS);
      await kill(weir(), before, 'SIGCONT');
      // It has something to say: an edit that both see.
      await weir().apply(route(40));
      await weir().untilCondition([...ref], 'Ready', { status: 'True', summary: '2/2' });
      await weir().apply(route(50));
      await weir().untilCondition([...ref], 'Ready', { status: 'True', summary: '2/2' });
      const taken = Date.parse(after.acquireTime ?? '');
      const late = (await statusWrites(weir())).filter(({ pod, at }) => pod === old && at > taken);
      expect(late).toEqual([]);
      expect((await statusWrites(weir())).some(({ pod, at }) => pod === podOf(after) && at > taken)).toBe(true);
    });
  },
  { local: true },
);

async function lease(weir: Installed): Promise<LeaseSpec> {
  const text = await weir.kubectl('get', 'lease', 'weir-operator', '-n', SYSTEM, '-o', 'json');
  return (JSON.parse(text) as { spec: LeaseSpec }).spec;
}

/** An identity is the pod's name and a mark of the process: a container that starts again is another candidate. */
function podOf({ holderIdentity = '' }: LeaseSpec): string {
  return holderIdentity.split('_')[0] ?? '';
}

async function newHolder(weir: Installed, before: LeaseSpec, deadlineMs: number): Promise<LeaseSpec> {
  return await waitFor(
    'another holder of the lease',
    async () => {
      const now = await lease(weir);
      const isOther = Boolean(now.holderIdentity) && now.holderIdentity !== before.holderIdentity;
      return isOther && now.acquireTime !== before.acquireTime ? now : undefined;
    },
    { deadlineMs: deadlineMs + LEASE_MS, everyMs: 50 },
  );
}

/** Both operators run and are Ready: there is somebody to take over. */
async function bothReady(weir: Installed): Promise<void> {
  await weir.rolledOut(SYSTEM, 'weir-operator');
  await waitFor(
    'two ready operators',
    async () => {
      const pods = await weir.pods(SYSTEM, 'app.kubernetes.io/component=operator');
      const ready = pods.filter(({ status }) =>
        status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'),
      );
      return ready.length === 2 ? true : undefined;
    },
    { deadlineMs: 120_000, everyMs: 250 },
  );
}

/** Signals the operator's process from the node, as an OOM killer or a frozen machine would. */
async function kill(weir: Installed, holder: LeaseSpec, signal: NodeJS.Signals): Promise<void> {
  const pods = await weir.pods(SYSTEM, 'app.kubernetes.io/component=operator');
  const uid = pods.find(({ metadata }) => metadata.name === podOf(holder))?.metadata.uid;
  const pids = await processesOf(uid ?? '', 'operator');
  expect(pids).toHaveLength(1);
  for (const pid of pids) process.kill(pid, signal);
}

/** Successful writes of a status, by the pod that made them. */
async function statusWrites(weir: Installed): Promise<{ pod: string; at: number }[]> {
  const auditLog = weir.cluster.local?.plane.auditLog;
  if (auditLog === undefined) throw new Error('the cluster writes no audit log');
  const lines = (await readFile(auditLog, 'utf8'))
    .split('\n')
    .filter((line) => line.includes('"subresource":"status"'));
  return lines.flatMap((line) => {
    const event = JSON.parse(line) as AuditEvent;
    const { objectRef, responseStatus, user, stageTimestamp, stage } = event;
    const isOurs = objectRef?.apiGroup === 'weir.dev' && stage === 'ResponseComplete' && responseStatus?.code === 200;
    const [pod] = user?.extra?.['authentication.kubernetes.io/pod-name'] ?? [];
    return isOurs && pod !== undefined ? [{ pod, at: Date.parse(stageTimestamp) }] : [];
  });
}

interface AuditEvent {
  readonly stage: string;
  readonly stageTimestamp: string;
  readonly objectRef?: { readonly apiGroup?: string };
  readonly responseStatus?: { readonly code?: number };
  readonly user?: { readonly extra?: Readonly<Record<string, readonly string[]>> };
}
