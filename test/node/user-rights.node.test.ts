// On a real node 7: a user without rights on the cluster, an editor of one namespace, applies a route there and reads
// its status.
import { beforeAll, expect, test } from '@jest/globals';
import { tally } from '../e2e/traffic.ts';
import { describeInstalled } from './installed.ts';
import { namespace, sidecarRoute, workload } from './workloads.ts';

const [SPACE, ELSEWHERE] = ['team', 'elsewhere'];
const account = (name: string): string => `system:serviceaccount:${SPACE}:${name}`;

describeInstalled(
  'an editor of one namespace',
  [namespace(SPACE, { 'weir.dev/inject': 'true' }), namespace(ELSEWHERE)],
  (weir) => {
    const route = sidecarRoute(`${SPACE}/chat`, [
      { name: 'all', measure: 'Requests', bucket: { maxTokens: 4, refillPeriod: '8000h' } },
    ]);
    const as = (name: string, ...args: readonly string[]): string[] => [...args, '--as', account(name)];

    beforeAll(async () => {
      for (const [name, role] of [
        ['editor', 'edit'],
        ['reader', 'view'],
      ] as const) {
        await weir().kubectl('create', 'serviceaccount', name, '-n', SPACE);
        const subject = `--serviceaccount=${SPACE}:${name}`;
        await weir().kubectl('create', 'rolebinding', name, '-n', SPACE, `--clusterrole=${role}`, subject);
      }
      await weir().apply(...workload({ namespace: SPACE, name: 'chat', image: weir().image }));
      await weir().rolledOut(SPACE, 'chat');
    });

    test('applies a route there, and it is enforced', async () => {
      const { code, stderr } = await weir().tryKubectl(as('editor', 'apply', '-f', '-'), JSON.stringify(route));
      expect([code, stderr]).toEqual([0, '']);
      await weir().untilCondition(['modelroutes', SPACE, 'chat'], 'Ready', { status: 'True', summary: '1/1' });
      expect(tally(await weir().ask(SPACE, 'chat', 6))).toEqual({ 200: 4, 429: 2 });
    });

    test('and reads what became of it', async () => {
      for (const name of ['editor', 'reader']) {
        const { stdout } = await weir().tryKubectl(as(name, 'get', 'modelroutes.weir.dev', '-n', SPACE));
        expect(stdout).toMatch(/chat\s+llama\s+1\s+True\s+1\/1/);
      }
    });

    test('but not elsewhere; and who only reads changes nothing; nobody writes a status', async () => {
      const there = { ...route, metadata: { namespace: ELSEWHERE, name: 'chat' } };
      const denied = [
        await weir().tryKubectl(as('editor', 'apply', '-f', '-'), JSON.stringify(there)),
        await weir().tryKubectl(as('reader', 'delete', 'modelroutes.weir.dev', 'chat', '-n', SPACE)),
        await weir().tryKubectl(
          as(
            'editor',
            'patch',
            'modelroutes.weir.dev',
            'chat',
            '-n',
            SPACE,
            '--subresource=status',
            '--type=merge',
            '-p',
            '{"status":{"limitCount":9}}',
          ),
        ),
      ];
      for (const { code, stderr } of denied) {
        expect(code).not.toBe(0);
        expect(stderr).toContain('forbidden');
      }
    });
  },
);
