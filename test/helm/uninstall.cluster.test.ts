// `helm uninstall` as the chart's Jobs do it, with their own arguments and rights, on a real API server: before it
// limiters are given what they need without the operator and the trial Redis, after it statuses say that nobody
// follows the objects.
import { afterEach, beforeAll, expect, test } from '@jest/globals';
import { cleanupCommand } from '../../src/cli/cleanup-command.ts';
import { leaveCommand } from '../../src/cli/leave-command.ts';
import type { LimiterConfig } from '../../src/contract/limiter-config.ts';
import { ELECTION_TIMING } from '../../src/controller/election/leader-election.ts';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import {
  condition,
  OperatorRig,
  prepareCluster,
  route,
  verdict,
  type TestLimiter,
} from '../controller/operator-rig.ts';
import { CHART, findHelm, type Manifest, mustHelm, NO_HELM, objectsIn } from './helm.ts';

const OWN = 'weir-system';
const ROUTE = 'modelroutes.weir.dev';
const REDIS = '127.0.0.1:1';
const ELECTION = { namespace: OWN, leaseName: 'weir-operator', ...ELECTION_TIMING };
const SOON = { deadlineMs: 20_000, everyMs: 50 };

type Hook = 'leave' | 'cleanup';

function suite(): void {
  describeOnControlPlane('an uninstall', {}, (cluster) => {
    let rig: OperatorRig;
    let limiters: TestLimiter[] = [];
    let args: Readonly<Record<Hook, readonly string[]>> = { leave: [], cleanup: [] };

    const limited = (name: string, more: object = {}): unknown => {
      const limits = [{ name: 'all', measure: 'Requests', bucket: { maxTokens: 20, refillPeriod: '1h' } }];
      return route(name, 1, { rateLimiting: { limits, ...more } });
    };
    /** What the first limiter was given last. */
    const held = (name: string): LimiterConfig => {
      const update = limiters[0]?.held.get(`ModelRoute/default/${name}`);
      if (update === undefined) throw new Error(`${name} is not there`);
      return update.resource as LimiterConfig;
    };
    const startOperator = async (): Promise<void> => {
      const kubeconfig = await accountOf('operator');
      await rig.start({
        source: { kind: 'cluster', kubeconfig, namespaces: [] },
        defaultRedis: { address: REDIS, namespaces: [], acl: false },
        election: ELECTION,
        reconnectGraceMs: 0,
      });
    };
    const accountOf = (name: string): Promise<string> =>
      cluster().plane.kubeconfigFor({
        user: `system:serviceaccount:${OWN}:weir-${name}`,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${OWN}`, 'system:authenticated'],
      });
    /** Runs the Job of a hook. @returns what it printed */
    const run = async (hook: Hook, ...more: string[]): Promise<string> => {
      let printed = '';
      const command = hook === 'leave' ? leaveCommand((text) => (printed += text)) : cleanupCommand();
      const flags = [...args[hook].slice(1), ...more, '--kubeconfig', await accountOf(hook)];
      await command.exitOverride().parseAsync(flags, { from: 'user' });
      return printed;
    };
    const annotations = async (): Promise<string> =>
      await cluster().mustKubectl([
        'get',
        'lease',
        'weir-operator',
        '-n',
        OWN,
        '-o',
        'jsonpath={.metadata.annotations}',
      ]);

    beforeAll(async () => {
      await prepareCluster(cluster());
      await cluster().mustKubectl(['apply', '--server-side', '-f', 'deploy/rbac.yaml']);
      const rendered = objectsIn(await mustHelm(['template', 'weir', CHART, '--namespace', OWN]));
      const hooks = rendered.filter(({ metadata }) => ['weir-leave', 'weir-cleanup'].includes(metadata.name));
      const argsOf = (name: Hook): readonly string[] => {
        const job = hooks.find(({ kind, metadata }) => kind === 'Job' && metadata.name === `weir-${name}`) as Job;
        return job.spec.template.spec.containers[0]?.args ?? [];
      };
      args = { leave: argsOf('leave'), cleanup: argsOf('cleanup') };
      const items = hooks.filter(({ kind }) => kind !== 'Job');
      const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
      await cluster().mustKubectl(['apply', '--server-side', '-f', '-'], { input });
    }, 60_000);

    afterEach(async () => {
      await rig.end();
      limiters = [];
      await cluster().mustKubectl(['delete', ROUTE, '--all']);
      await cluster().kubectl(['delete', 'lease', 'weir-operator', '-n', OWN, '--ignore-not-found']);
    }, 60_000);

    const install = async (): Promise<void> => {
      rig = await OperatorRig.make(cluster());
      await startOperator();
      limiters = [await rig.limiter(), await rig.limiter()];
      await rig.apply(
        limited('trial'),
        limited('own', { redis: { address: 'redis:6379' } }),
        limited('local', { scope: 'Local' }),
      );
      for (const name of ['trial', 'own', 'local']) await rig.statusOf(ROUTE, name, (s) => verdict(s) === 'True Ready');
    };

    test('with the trial Redis: limiters get their shares before it, statuses say OperatorGone after it, and a new install has them back', async () => {
      await install();
      const before = { own: held('own'), local: held('local') };
      expect(held('trial').store).toMatchObject({ type: 'redis', isDefault: true });

      const report = await run('leave');
      expect(report).toMatch(
        /^3 objects \(ModelRoute default\/local, .*\) exist while Weir is uninstalled: limiters keep/,
      );
      expect(report).toContain('then count in memory, each its share');
      expect(held('trial').store).toEqual({ type: 'memory' });
      expect(held('trial').limits[0]?.rule).toMatchObject({
        maxTokens: 10,
        burst: 10,
        refillPeriodMicros: 3_600_000_000,
      });
      expect({ own: held('own'), local: held('local') }).toEqual(before);
      // As long as the operator is there, nothing is said that an uninstall which fails would leave behind.
      expect(verdict(await rig.statusOf(ROUTE, 'trial', () => true))).toBe('True Ready');

      await rig.operator?.stop();
      await run('cleanup');
      const gone = await rig.statusOf(ROUTE, 'trial', (status) => verdict(status) === 'Unknown OperatorGone');
      expect(condition(gone, 'Programmed')).toMatchObject({ status: 'Unknown', reason: 'OperatorGone' });
      expect(condition(gone, 'Programmed')?.message).toContain('each its share in memory');
      expect(condition(gone, 'Accepted')?.status).toBe('True');
      const own = await rig.statusOf(ROUTE, 'own', (status) => verdict(status) === 'Unknown OperatorGone');
      expect(condition(own, 'Ready')?.message).toContain('limiters keep enforcing their last config');

      await startOperator();
      // Of both: until the second one has come back, the first one is all that the operator knows.
      await rig.statusOf(
        ROUTE,
        'trial',
        (status) => verdict(status) === 'True Ready' && status.limiters?.summary === '2/2',
      );
      expect(held('trial').store).toMatchObject({ type: 'redis' });
    }, 90_000);

    test('Refuse: the objects are named, and nothing is changed', async () => {
      await install();
      const before = held('trial');
      const refused = run('leave', '--while-objects-exist=Refuse');
      await expect(refused).rejects.toThrow(
        /^Not uninstalled: 3 objects \(ModelRoute default\/local, .* exist, and uninstall\.whileObjectsExist is Refuse\. Delete/,
      );
      expect(await annotations()).toBe('');
      expect(held('trial')).toEqual(before);
      await cluster().mustKubectl(['delete', ROUTE, '--all']);
      expect(await run('leave', '--while-objects-exist=Refuse')).toBe('');
    }, 60_000);

    test('an edit while it is under way reaches limiters in the same form', async () => {
      await install();
      await run('leave');
      const limits = [{ name: 'all', measure: 'Requests', bucket: { maxTokens: 8, refillPeriod: '1h' } }];
      await rig.apply(route('trial', 1, { rateLimiting: { limits } }));
      const isShared = (): boolean | undefined =>
        (held('trial').limits[0]?.rule as { burst: number }).burst === 4 || undefined;
      await waitFor('the share of the new limit', isShared, SOON);
      expect(held('trial').store).toEqual({ type: 'memory' });
    }, 60_000);

    test('an operator that is not there holds nothing up, and both report and statuses say what then holds', async () => {
      await install();
      await rig.operator?.stop();
      await cluster().mustKubectl(['delete', 'lease', 'weir-operator', '-n', OWN]);
      expect(await run('leave')).toContain('no operator answered');
      await run('cleanup');
      const gone = await rig.statusOf(ROUTE, 'trial', (status) => verdict(status) === 'Unknown OperatorGone');
      expect(condition(gone, 'Ready')?.message).toContain('follow their failurePolicy');
    }, 60_000);

    test('the Jobs have no right to more than that', async () => {
      rig = await OperatorRig.make(cluster());
      const can = async (account: Hook, ...what: string[]): Promise<string> =>
        (
          await cluster().kubectl(['auth', 'can-i', ...what, '--as', `system:serviceaccount:${OWN}:weir-${account}`])
        ).stdout.trim();
      expect(await can('leave', 'patch', 'lease/weir-operator', '-n', OWN)).toBe('yes');
      expect(await can('cleanup', 'update', ROUTE, '--subresource=status', '-n', 'default')).toBe('yes');
      const denied: readonly [Hook, ...string[]][] = [
        ['leave', 'patch', 'lease/other', '-n', OWN],
        ['leave', 'update', ROUTE, '--subresource=status', '-n', 'default'],
        ['leave', 'delete', ROUTE, '-n', 'default'],
        ['leave', 'get', 'secrets', '-n', OWN],
        ['cleanup', 'update', ROUTE, '-n', 'default'],
        ['cleanup', 'delete', ROUTE, '-n', 'default'],
      ];
      for (const what of denied) expect([what, await can(...what)]).toEqual([what, 'no']);
    });
  });
}

interface Job extends Manifest {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { args: readonly string[] }[] } };
  };
}

if (findHelm() === undefined) leaveOut('an uninstall', NO_HELM, suite);
else suite();
