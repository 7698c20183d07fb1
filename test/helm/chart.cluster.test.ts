// The chart as helm renders it: golden files for several sets of values (UPDATE_GOLDEN=1 writes them anew), wrong
// values that are refused by name, and what must hold of every rendering.
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { Command } from 'commander';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { complaintAboutFlags, type CertificateFlags } from '../../src/cli/flags/certificate-flags.ts';
import { cleanupCommand } from '../../src/cli/cleanup-command.ts';
import { crdsCommand } from '../../src/cli/crds-command.ts';
import { complaintAboutRedis, type DefaultRedisFlags } from '../../src/cli/flags/default-redis-flags.ts';
import { complaintAboutLimiter, limiterCommand, type LimiterFlags } from '../../src/cli/limiter-command.ts';
import { operatorCommand } from '../../src/cli/operator-command.ts';
import { complaintAboutWebhook, type WebhookFlags } from '../../src/cli/flags/webhook-flags.ts';
import { crdFiles } from '../../src/crd/emit.ts';
import { parseInjectionConfig } from '../../src/reconcile/injection/settings.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { CHART, findHelm, helm, type Manifest, mustHelm, NO_HELM, objectsIn } from './helm.ts';

const FOLDER = import.meta.dirname;
const SETS = globSync(`${FOLDER}/values/*.yaml`)
  .sort()
  .map((path) => basename(path, '.yaml'));

const COMMANDS: Readonly<Record<string, () => Command>> = {
  operator: operatorCommand,
  limiter: limiterCommand,
  cleanup: cleanupCommand,
  crds: crdsCommand,
};

function render(set: string, more: readonly string[] = []): Promise<string> {
  const values = ['--values', join(FOLDER, 'values', `${set}.yaml`)];
  return mustHelm(['template', 'weir', CHART, '--namespace', 'weir-system', ...values, ...more]);
}

interface PodSpec {
  readonly containers: readonly {
    readonly image: string;
    readonly args?: readonly string[];
    readonly securityContext?: object;
  }[];
  readonly securityContext?: object;
}

function podSpecOf({ kind, spec }: Manifest): PodSpec | undefined {
  if (kind === 'Pod') return spec as PodSpec;
  return (spec as { template?: { spec?: PodSpec } } | undefined)?.template?.spec;
}

function suite(): void {
  test('passes helm lint, warnings counted', async () => {
    const { code, stdout, stderr } = await helm(['lint', '--strict', CHART]);
    expect({ code, said: code === 0 ? '' : stdout + stderr }).toEqual({ code: 0, said: '' });
  });

  test.each(SETS)('with the values %s is what the golden file says', async (set) => {
    const text = await render(set, ['--set', 'crds.enabled=false']);
    const file = join(FOLDER, 'golden', `${set}.yaml`);
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, 'utf8'));
  });

  test.each(SETS)('with the values %s is rendered twice to the same bytes', async (set) => {
    expect(await render(set)).toBe(await render(set));
  });

  test('brings exactly the kinds of deploy/crds, none of them as an object that a rollback would put back', async () => {
    const rendered = objectsIn(await render('default'));
    expect(rendered.filter(({ kind }) => kind === 'CustomResourceDefinition')).toEqual([]);
    const files = rendered.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'weir-crds')?.[
      'data'
    ];
    const asTrimmed = [...crdFiles()].map(([name, text]) => [name, `${text.trim()}\n`]);
    expect(files).toEqual(Object.fromEntries(asTrimmed));
  });

  test('has rights of operators that the chart-less files say too', async () => {
    const rules = (text: string, kind: string) =>
      objectsIn(text).find((object) => object.kind === kind && object.metadata.name === 'weir-operator')?.['rules'];
    const chart = await render('default');
    const plain = readFileSync(join(CHART, '../rbac.yaml'), 'utf8');
    for (const kind of ['ClusterRole', 'Role']) expect(rules(plain, kind)).toEqual(rules(chart, kind));
    const fence = (text: string): unknown =>
      objectsIn(text).find(({ kind, metadata }) => /Policy$/.test(kind) && metadata.name === 'weir-last-good')?.[
        'spec'
      ];
    expect(fence(plain)).toEqual(fence(chart));
    expect(fence(chart)).toMatchObject({ failurePolicy: 'Fail' });
  });

  describe.each(SETS)('every object with the values %s', (set) => {
    let objects: Manifest[] = [];
    beforeAll(async () => {
      objects = objectsIn(await render(set));
    });

    test('is labelled as part of weir', () => {
      const without = objects.filter(({ metadata }) => metadata.labels?.['app.kubernetes.io/part-of'] !== 'weir');
      expect(without.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([]);
    });

    test('grants no right to Secrets cluster-wide, nor to those of its namespace by other than their names', () => {
      type Rule = { resources: string[]; verbs: string[]; resourceNames?: string[] };
      const rules = (kind: string) =>
        objects.filter((object) => object.kind === kind).flatMap((object) => object['rules'] as Rule[]);
      const reach = ({ resources }: Rule): boolean => resources.some((name) => name === 'secrets' || name === '*');
      expect(rules('ClusterRole').filter(reach)).toEqual([]);
      const unnamed = rules('Role').filter((rule) => reach(rule) && (rule.resourceNames ?? []).length === 0);
      expect(unnamed.map(({ verbs }) => verbs)).toEqual([['create']]);
    });

    test('that runs weir gives it flags and values that it takes', () => {
      const lines = objects.flatMap((object) => podSpecOf(object)?.containers ?? []).map(({ args = [] }) => args);
      const known = lines.filter(([name = '']) => Object.hasOwn(COMMANDS, name));
      expect(known.length).toBeGreaterThan(1);
      for (const [name = '', ...flags] of known) {
        const command = COMMANDS[name]!().exitOverride();
        const { unknown } = command.parseOptions(flags.map((flag) => flag.replace('$(POD_NAME)', 'pod')));
        expect([name, unknown]).toEqual([name, []]);
        if (name === 'limiter') expect(complaintAboutLimiter(command.opts<LimiterFlags>())).toBeUndefined();
        if (name !== 'operator') continue;
        const opts = command.opts<CertificateFlags & WebhookFlags & DefaultRedisFlags>();
        const complaints = [complaintAboutFlags(opts, 'ns'), complaintAboutWebhook(opts), complaintAboutRedis(opts)];
        expect(complaints).toEqual([undefined, undefined, undefined]);
      }
    });

    test('that says what is put into pods is what the operator reads', () => {
      const file = objects.find(({ metadata }) => metadata.name.endsWith('-injection'));
      if (file === undefined) return;
      const text = (file['data'] as { 'injection.yaml': string })['injection.yaml'];
      expect(parseInjectionConfig(text)).toMatchObject({ image: expect.any(String) });
    });

    test('that makes pods keeps to Pod Security restricted, with a read-only root and bounded memory', () => {
      const pods = objects.map(podSpecOf).filter((spec) => spec !== undefined);
      expect(pods.length).toBeGreaterThan(1);
      for (const { containers, securityContext } of pods) {
        expect(securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
        for (const container of containers) {
          expect(container).toMatchObject({
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ['ALL'] },
            },
            resources: { limits: { memory: expect.any(String) } },
          });
        }
      }
    });
  });
}

describe.each([
  ['operator.replicas=0', "at '/operator/replicas': minimum: got 0, want 1"],
  ['operator.replica=2', "at '/operator': additional properties 'replica' not allowed"],
  ['replicas=2', "additional properties 'replicas' not allowed"],
  ['image.pullPolicy=always', "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"],
  ['redis.enabled=maybe', "at '/redis/enabled': got string, want boolean"],
  ['egress.allow={a b}', "at '/egress/allow/0'"],
  ['defaultRedis.address=nowhere', "at '/defaultRedis/address'"],
  ['defaultRedis.namespaces={serving}', 'defaultRedis.namespaces: with defaultRedis.acl, and with the trial Redis'],
  ['certificates.caPropagation=soon', "at '/certificates/caPropagation'"],
  ['certificates.lifetime=forever', "at '/certificates/lifetime'"],
  ['injector.sidecar.drainSeconds=-1', "at '/injector/sidecar/drainSeconds'"],
  ['sharedLimiter.service.port=0', "at '/sharedLimiter/service/port'"],
  ['defaultRedis.address=redis:6379', 'defaultRedis.address: there is one default Redis: set redis.enabled=false'],
  ['defaultRedis.passwordSecret.name=x', 'defaultRedis.passwordSecret.name: needs defaultRedis.address'],
  ['defaultRedis.acl=true', 'defaultRedis.acl: needs the password of a user that may make users'],
  ['certificates.certManager.enabled=true', 'certificates.certManager.issuerRef.name: name the Issuer'],
  ['sharedLimiter.autoscaling.minReplicas=11', 'sharedLimiter.autoscaling.minReplicas: at most'],
  ['sharedLimiter.bounds.maxBody=25MB', "at '/sharedLimiter/bounds/maxBody'"],
  ['injector.sidecar.bounds.maxBodies=1Mi', "at '/injector/sidecar/bounds': additional properties 'maxBodies'"],
  ['injector.sidecar.bounds.streamIdleTimeout=never', "at '/injector/sidecar/bounds/streamIdleTimeout'"],
  [
    'sharedLimiter.bounds.bodyBudget=40Mi',
    'sharedLimiter.bounds.bodyBudget: 40Mi is less than three times maxBody (16Mi)',
  ],
  ['image.digest=sha256:abc', "at '/image/digest'"],
  ['uninstall.whileObjectsExist=Never', "at '/uninstall/whileObjectsExist': value must be one of 'Warn', 'Refuse'"],
  ['commonLabels.app\\.kubernetes\\.io/name=x', 'commonLabels: the label app.kubernetes.io/name is set by the chart'],
  ['redis.podLabels.weir\\.dev/leader=yes', 'redis.podLabels: the label weir.dev/leader is set by the chart'],
  [
    'operator.serviceAccount.create=false',
    'operator.serviceAccount.name: with create=false, name an account that exists',
  ],
  ['operator.podDisruptionBudget.minAvailable=2', 'operator.podDisruptionBudget.minAvailable: less than'],
])('the values %s', (value, message) => {
  (findHelm() === undefined ? test.skip : test)('are refused, naming the field', async () => {
    const { code, stderr } = await helm(['template', 'weir', CHART, '--namespace', 'weir-system', '--set', value]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
  });
});

if (findHelm() === undefined) leaveOut('the chart', NO_HELM, suite);
else describe('the chart', suite);
