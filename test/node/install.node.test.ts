// On a real node 1 and 5: docs/install.md, command by command as it is written there: from nothing to 3/3, exactly
// the limit over three sidecars that share one Redis; then upgrade, rollback and uninstall under traffic, what is
// left of it, and a new install.
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { describeOnNode } from '../../tools/node-cluster/describe-node.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { conditionOf } from '../e2e/harness.ts';
import { tally } from '../e2e/traffic.ts';
import { projectFolder } from '../rig/stack/cluster-access.ts';
import { Installed, SYSTEM } from './installed.ts';
import { namespace, sidecarRoute, workload, WORKLOAD_PORT } from './workloads.ts';

jest.setTimeout(600_000);

const PAGE = readFileSync(join(projectFolder, 'docs', 'install.md'), 'utf8');
/** The limit of examples/chat.yaml on all callers together. */
const LIMIT = 20;
/** A workload of another namespace, which stays when the example goes. */
const OTHER = 'install-other';
const PLENTY = 1_000_000;
const PLENTY_PERIOD_H = 8000;
const PLENTY_BUCKET = { maxTokens: PLENTY, refillPeriod: `${PLENTY_PERIOD_H}h` };

describeOnNode('docs/install.md', {}, (cluster) => {
  const weir = (): Installed => new Installed(cluster());

  beforeAll(async () => {
    await cluster().kubectl(['delete', 'namespace', 'demo', OTHER, '--ignore-not-found', '--timeout=120s']);
    await cluster().helm(['uninstall', 'weir', '-n', SYSTEM, '--ignore-not-found', '--wait']);
    await cluster().kubectl(['delete', 'namespace', SYSTEM, '--ignore-not-found', '--timeout=120s']);
  });

  afterAll(async () => {
    await cluster().kubectl(['delete', 'namespace', 'demo', OTHER, '--wait=false', '--ignore-not-found']);
  });

  describe.each(sections('0.', '1.', '2.', '3.', '4.'))('%s', (_title, blocks) => {
    test.each(blocks)('%s', async (block) => {
      await weir().shell(block);
    });
  });

  test('ends with a route that is Ready on three limiters', async () => {
    const seen = await weir().kubectl('get', 'modelroutes.weir.dev', '-n', 'demo');
    expect(seen).toMatch(/chat\s.*\s3\/3\s.*Ready/);
  });

  test('and exactly its limit passed, over all three of them', async () => {
    expect(await weir().kubectl('logs', 'caller', '-n', 'demo')).toContain(`{"200":${LIMIT},"429":${30 - LIMIT}}`);
    const pods = await weir().pods('demo', 'app=chat');
    expect(pods).toHaveLength(3);
    const counts = await Promise.all(pods.map(({ status }) => upstreamCount(status.podIP ?? '')));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(LIMIT);
    expect(Math.min(...counts)).toBeGreaterThan(0);
  });

  describe('afterwards, under traffic', () => {
    let asked = 0;
    let beganMs = 0;

    beforeAll(async () => {
      await weir().apply(namespace(OTHER, { 'weir.dev/inject': 'true' }));
      await weir().apply(
        ...workload({ namespace: OTHER, name: 'chat', image: weir().image, replicas: 2 }),
        sidecarRoute(`${OTHER}/chat`, [{ name: 'all', bucket: PLENTY_BUCKET }]),
        sidecarRoute(`${OTHER}/few`, [{ name: 'all', bucket: { maxTokens: 9, refillPeriod: '8000h' } }], {
          modelName: 'few',
          workloadSelector: { matchLabels: { app: 'chat' } },
        }),
      );
      await weir().rolledOut(OTHER, 'chat');
      for (const name of ['chat', 'few'])
        await weir().untilCondition(['modelroutes', OTHER, name], 'Ready', { status: 'True', summary: '2/2' });
      beganMs = Date.now();
    });

    test.each(
      sections('Upgrade')
        .flatMap(([, blocks]) => blocks)
        .slice(0, 1),
    )('%s', async (block) => {
      const [upgrade, rollback] = block.split('\n');
      await underTraffic(() => weir().shell(upgrade ?? ''));
      expect(await operatorArguments()).toContain('debug');
      await expectAllCharged();
      await underTraffic(() => weir().shell(rollback ?? ''));
      expect(await operatorArguments()).not.toContain('debug');
      await expectAllCharged();
      await weir().untilCondition(['modelroutes', OTHER, 'chat'], 'Ready', { status: 'True', summary: '2/2' });
      await weir().helm(['test', 'weir', '-n', SYSTEM]);
    });

    test('a rollback, and an upgrade to an older chart, leave the kinds as a newer release has widened them', async () => {
      const chart = await chartOfTomorrow();
      const patch = async (spec: object): Promise<unknown> =>
        weir().kubectl(
          'patch',
          'modelroutes.weir.dev',
          'chat',
          '-n',
          OTHER,
          '--type=merge',
          '-p',
          JSON.stringify({ spec }),
        );
      const written = async (): Promise<string> => {
        await weir().kubectl('label', 'modelroutes.weir.dev', 'chat', '-n', OTHER, '--overwrite', `at=${Date.now()}`);
        const { spec } = await weir().object('modelroutes', OTHER, 'chat');
        return (spec as { ofTomorrow?: string }).ofTomorrow ?? 'gone';
      };
      await weir().helm(['upgrade', 'weir', chart, '-n', SYSTEM, '--reuse-values', '--wait']);
      await patch({ ofTomorrow: 'kept' });
      await underTraffic(() => weir().helm(['rollback', 'weir', '-n', SYSTEM, '--wait']));
      expect(await written()).toBe('kept');
      await underTraffic(() => weir().install());
      expect(await written()).toBe('kept');
      // An operator that does not know the field says so, and goes on with what it knew.
      await weir().untilCondition(['modelroutes', OTHER, 'chat'], 'Accepted', { status: 'False' });
      await patch({ ofTomorrow: null });
      const kinds = join(projectFolder, 'deploy', 'crds');
      await weir().kubectl('apply', '--server-side', '--force-conflicts', '-f', kinds);
      await weir().untilCondition(['modelroutes', OTHER, 'chat'], 'Ready', { status: 'True', summary: '2/2' });
      await expectAllCharged();
    });

    test.each(
      sections('Upgrade')
        .flatMap(([, blocks]) => blocks)
        .slice(1),
    )('%s', async (block) => {
      expect(tally(await weir().ask(OTHER, 'chat', 2, 'few'))).toEqual({ 200: 2 });
      let printed = '';
      await underTraffic(async () => (printed = await weir().shell(block)));
      expect(printed).toContain(`2 objects (ModelRoute ${OTHER}/chat, ModelRoute ${OTHER}/few) exist while Weir is`);
      const left = await waitFor(
        'nothing of Weir but the kinds',
        async () => {
          const found = await labelled();
          if (found.every((name) => name.startsWith('customresourcedefinition'))) return found;
          throw new Error(`left: ${found.join(', ')}`);
        },
        { deadlineMs: 60_000, everyMs: 1000 },
      );
      expect(left.sort()).toEqual([
        'customresourcedefinition.apiextensions.k8s.io/mcpservers.weir.dev',
        'customresourcedefinition.apiextensions.k8s.io/modelroutes.weir.dev',
      ]);
    });

    test('afterwards limiters have their shares of the limits, and statuses say that nobody follows the objects', async () => {
      // Of 9 for two sidecars 4 each: the trial Redis went with the release.
      const answers = tally(await weir().ask(OTHER, 'chat', 30, 'few'));
      expect(answers).toEqual({ 200: 8, 429: 22 });
      expect(tally(await weir().ask(OTHER, 'chat', 10))).toEqual({ 200: 10 });
      for (const name of ['chat', 'few']) {
        const object = await weir().object('modelroutes', OTHER, name);
        expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'Unknown', reason: 'OperatorGone' });
        expect(conditionOf(object, 'Programmed')?.message).toContain('each its share in memory');
      }
      await weir().kubectl('delete', 'modelroutes.weir.dev', 'few', '-n', OTHER);
    });

    test('a new install takes over the objects and the limiters that went on', async () => {
      await weir().install();
      const edited = [{ name: 'all', bucket: { ...PLENTY_BUCKET, maxTokens: PLENTY - 1 } }];
      await weir().apply(sidecarRoute(`${OTHER}/chat`, edited));
      await weir().restart(OTHER, 'chat');
      await weir().untilCondition(['modelroutes', OTHER, 'chat'], 'Ready', { status: 'True', summary: '2/2' }, 120_000);
      expect(tally(await weir().ask(OTHER, 'chat', 4))).toEqual({ 200: 4 });
    });

    /** Calls through the Service while `step` runs: every one passes. */
    async function underTraffic(step: () => Promise<unknown>): Promise<void> {
      const answers = await weir().callsDuring([OTHER, 'chat'], step);
      expect(tally(answers)).toEqual({ 200: answers.length });
      asked += answers.length;
    }

    /** None of the calls so far was free, none was charged twice. */
    async function expectAllCharged(): Promise<void> {
      const [last] = await weir().ask(OTHER, 'chat', 1);
      asked += 1;
      const remaining = Number(last?.headers['x-ratelimit-remaining-requests']);
      const refilled = Math.ceil(((Date.now() - beganMs) * PLENTY) / (PLENTY_PERIOD_H * 3_600_000));
      expect(remaining).toBeGreaterThanOrEqual(PLENTY - asked);
      expect(remaining).toBeLessThanOrEqual(PLENTY - asked + refilled);
    }
  });

  /** A copy of the chart whose ModelRoute has one field more. */
  async function chartOfTomorrow(): Promise<string> {
    const chart = join(await mkdtemp(join(tmpdir(), 'weir-chart-')), 'weir');
    await cp(join(projectFolder, 'deploy', 'helm'), chart, { recursive: true });
    const file = join(chart, 'files', 'crds', 'modelroutes.yaml');
    const text = await readFile(file, 'utf8');
    const wider = text.replace(/^( +)hostnames:$/m, '$1ofTomorrow:\n$1  type: string\n$&');
    expect(wider).not.toBe(text);
    await writeFile(file, wider);
    return chart;
  }

  async function operatorArguments(): Promise<string> {
    return await weir().kubectl(
      'get',
      'deployment',
      'weir-operator',
      '-n',
      SYSTEM,
      '-o',
      'jsonpath={.spec.template.spec}',
    );
  }

  /** Everything with the label, of every kind that can be listed. */
  async function labelled(): Promise<string[]> {
    const kinds = (await weir().kubectl('api-resources', '--verbs=list', '-o', 'name')).trim().split('\n');
    const listed = kinds.filter((kind) => !kind.startsWith('events')).join(',');
    const label = 'app.kubernetes.io/part-of=weir';
    const text = await weir().kubectl('get', listed, '-A', '-l', label, '-o', 'name', '--ignore-not-found');
    return text.trim().split('\n').filter(Boolean);
  }
});

/**
 * The sections of the page whose headings begin so, with their blocks of commands (those marked `sh`), in their
 * order.
 */
function sections(...beginnings: readonly string[]): [title: string, blocks: string[]][] {
  return beginnings.map((beginning) => {
    const section = PAGE.split(/^## /m).find((each) => each.startsWith(beginning));
    const blocks = [...(section ?? '').matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text.trim());
    if (blocks.length === 0) throw new Error(`docs/install.md has no commands under "${beginning}"`);
    return [(section ?? '').split('\n')[0] ?? beginning, blocks];
  });
}

/** Requests that the model of a pod has seen, asked past its limiter. */
async function upstreamCount(podIP: string): Promise<number> {
  const answer = await fetch(`http://${podIP}:${WORKLOAD_PORT}/count`, { signal: AbortSignal.timeout(5000) });
  return Number(await answer.text());
}
