// Tests the kinds as a real API server serves them: the examples, the status as a part of its own, the printed columns.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { CONDITION_TYPES } from '../../src/crd/kinds/conditions.ts';
import type { Status } from '../../src/crd/kinds/conditions.ts';
import { judgeText } from '../../src/crd/validate.ts';
import { describeOnCluster } from '../../tools/node-cluster/describe-cluster.ts';
import { installKinds } from './installed-kinds.ts';

const EXAMPLES = fileURLToPath(new URL('./examples/api.yaml', import.meta.url));
const NAMESPACES = ['serving', 'tools'];
const ROUTE = 'modelroutes.weir.dev/llama';
const SERVER = 'mcpservers.weir.dev/search';

const FULL: Status = {
  observedGeneration: 1,
  configVersion: '0123456789abcdef',
  limitCount: 5,
  toolCount: 1,
  limiters: { desired: 3, synced: 2, rejected: 1, summary: '2/3' },
  limits: [{ name: 'tools/deep-research/perUser', state: 'Enforced', message: '5 per 1m0s' }],
  unlimitedPods: { count: 1, names: ['vllm-0'] },
  unknownTools: ['deep-reserach'],
  conditions: CONDITION_TYPES.map((type) => ({
    type,
    status: type === 'Degraded' ? ('True' as const) : ('False' as const),
    reason: type === 'Ready' ? 'PartiallyProgrammed' : 'Pending',
    message: 'for people',
    lastTransitionTime: '2026-11-21T10:00:00Z',
    observedGeneration: 1,
  })),
};

describeOnCluster('the kinds as they are served', (cluster) => {
  beforeAll(async () => {
    await installKinds(cluster());
    for (const name of NAMESPACES) await cluster().kubectl(['create', 'namespace', name]);
    await cluster().mustKubectl(['apply', '--validate=strict', '-f', EXAMPLES]);
  });

  afterAll(async () => {
    await cluster().kubectl(['delete', '-f', EXAMPLES]);
    await cluster().kubectl(['delete', 'namespace', '--wait=false', ...NAMESPACES]);
  });

  const writeStatus = (object: string, namespace: string, status: unknown) =>
    cluster().kubectl([
      ...['patch', object, '-n', namespace, '--subresource=status', '--type=merge', '-p'],
      JSON.stringify({ status }),
    ]);

  test('the examples are applied as written', async () => {
    const names = async (namespace: string) => cluster().mustKubectl(['get', 'weir', '-n', namespace, '-o', 'name']);
    expect(await names('serving')).toBe('modelroute.weir.dev/llama\n');
    expect(await names('tools')).toBe('mcpserver.weir.dev/search\n');
  });

  test('a full status is kept, and shown in the columns', async () => {
    expect((await writeStatus(ROUTE, 'serving', FULL)).stderr).toBe('');
    expect((await writeStatus(SERVER, 'tools', FULL)).stderr).toBe('');
    const kept = await cluster().mustKubectl(['get', ROUTE, '-n', 'serving', '-o', 'jsonpath={.status}']);
    expect(JSON.parse(kept)).toEqual(FULL);
    const columns = async (object: string, namespace: string) =>
      (await cluster().mustKubectl(['get', object, '-n', namespace]))
        .trim()
        .split('\n')
        .map((line, row) => line.split(/\s+/).slice(0, row === 0 ? undefined : -1));
    expect(await columns(ROUTE, 'serving')).toEqual([
      ['NAME', 'MODEL', 'LIMITS', 'READY', 'LIMITERS', 'DEGRADED', 'REASON', 'AGE'],
      ['llama', 'llama-3-70b', '5', 'False', '2/3', 'True', 'PartiallyProgrammed'],
    ]);
    expect(await columns(SERVER, 'tools')).toEqual([
      ['NAME', 'TOOLS', 'LIMITS', 'READY', 'LIMITERS', 'DEGRADED', 'REASON', 'AGE'],
      ['search', '1', '5', 'False', '2/3', 'True', 'PartiallyProgrammed'],
    ]);
  });

  test('an edit of the spec leaves the status, and a status outside of its bounds is refused', async () => {
    await writeStatus(ROUTE, 'serving', FULL);
    const edit = JSON.stringify({ spec: { modelName: 'llama-4' }, status: { limitCount: 77 } });
    await cluster().mustKubectl(['patch', ROUTE, '-n', 'serving', '--type=merge', '-p', edit]);
    const count = await cluster().mustKubectl(['get', ROUTE, '-n', 'serving', '-o', 'jsonpath={.status.limitCount}']);
    expect(count).toBe('5');
    const { stderr } = await writeStatus(ROUTE, 'serving', { unknownTools: Array.from({ length: 11 }, () => 't') });
    expect(stderr).toContain('status.unknownTools: Too many: 11: must have at most 10 items');
  });

  test('kubectl takes a list apart as weir validate does', async () => {
    const element = (name: string, spec: object) => ({ metadata: { name, namespace: 'serving' }, spec });
    const object = { apiVersion: 'weir.dev/v1alpha1', kind: 'ModelRoute' };
    const good = element('one-of-a-list', { modelName: 'm' });
    const bad = element('another', { loraAdapters: [] });
    const lists = [
      {
        apiVersion: 'v1',
        kind: 'List',
        items: [
          { ...object, ...good },
          { ...object, ...bad },
        ],
      },
      { ...object, kind: 'ModelRouteList', items: [good, bad] },
    ];
    for (const list of lists) {
      const input = JSON.stringify(list);
      const offline = judgeText(input).map(({ name, findings }) => [name, findings.length === 0]);
      const { stdout, stderr } = await cluster().kubectl(['create', '--dry-run=server', '-o', 'name', '-f', '-'], {
        input,
      });
      expect([list.kind, stderr, stdout]).toEqual([
        list.kind,
        expect.stringContaining('at least one of modelName or loraAdapters must be set'),
        'modelroute.weir.dev/one-of-a-list\n',
      ]);
      expect(Object.fromEntries(offline)).toEqual({ 'one-of-a-list': true, another: false });
    }
  });
});
