// `weir crds` as the chart runs it before an install and an upgrade: with the Job's own arguments, files and rights,
// on a real API server. Kinds are made and widened; what a newer release has widened is never narrowed, and no object
// loses a field.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { crdsCommand } from '../../src/cli/crds-command.ts';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { CHART, findHelm, type Manifest, mustHelm, NO_HELM, objectsIn } from './helm.ts';

const OWN = 'weir-system';
const ACCOUNT = `system:serviceaccount:${OWN}:weir-crds`;
const MODEL_ROUTES = 'modelroutes.weir.dev';

interface Crd extends Manifest {
  readonly spec: {
    readonly versions: {
      schema: { openAPIV3Schema: { properties: { spec: { properties: Record<string, object> } } } };
    }[];
  };
}

function suite(): void {
  describeOnControlPlane('weir crds', {}, (cluster) => {
    let folder = '';
    let files: Readonly<Record<string, string>> = {};
    let args: readonly string[] = [];

    /** Runs the Job of a chart with these files. */
    const run = async (with_: Readonly<Record<string, string>> = files): Promise<void> => {
      const kinds = join(folder, 'crds');
      await rm(kinds, { recursive: true, force: true });
      await mkdir(kinds);
      for (const [name, text] of Object.entries(with_)) await writeFile(join(kinds, name), text);
      const kubeconfig = await cluster().plane.kubeconfigFor({
        user: ACCOUNT,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${OWN}`, 'system:authenticated'],
      });
      const [, ...flags] = args.map((flag) => flag.replace('/crds', kinds));
      await crdsCommand()
        .exitOverride()
        .parseAsync([...flags, '--kubeconfig', kubeconfig], { from: 'user' });
    };
    /** The chart's files with one field more, or one less, in the spec of ModelRoute. */
    const withField = (change: (fields: Record<string, object>) => void): Record<string, string> => {
      const crd = parse(files['modelroutes.yaml'] ?? '', { version: '1.1' }) as Crd;
      change(fieldsOf(crd));
      return { ...files, 'modelroutes.yaml': stringify(crd, { version: '1.1', aliasDuplicateObjects: false }) };
    };
    const newer = (): Record<string, string> =>
      withField((fields) => (fields['ofTomorrow'] = { type: 'string', maxLength: 9 }));
    const older = (): Record<string, string> =>
      withField((fields) => {
        Reflect.deleteProperty(fields, 'hostnames');
      });
    const served = async (): Promise<Crd> =>
      JSON.parse(await cluster().mustKubectl(['get', 'crd', MODEL_ROUTES, '-o', 'json'])) as Crd;
    const servedFields = async (): Promise<string[]> => Object.keys(fieldsOf(await served()));
    /** Another one for each change of what is served. */
    const versionOf = async (): Promise<unknown> => {
      const { uid, generation } = (await served()).metadata as { uid?: string; generation?: number };
      return `${uid} ${generation}`;
    };
    const applyRoute = async (name: string, more: object): Promise<void> => {
      const limits = [{ name: 'all', measure: 'Requests', bucket: { maxTokens: 1, refillPeriod: '1h' } }];
      const spec = { modelName: name, targets: [{ url: 'http://model:8000' }], rateLimiting: { limits }, ...more };
      const route = { apiVersion: 'weir.dev/v1alpha1', kind: 'ModelRoute', metadata: { name }, spec };
      await cluster().mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(route) });
    };

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'weir-kinds-'));
      await cluster().mustKubectl(['create', 'namespace', OWN]);
      const rendered = objectsIn(await mustHelm(['template', 'weir', CHART, '--namespace', OWN]));
      const hooks = rendered.filter(({ metadata }) => metadata.name === 'weir-crds');
      const job = hooks.find(({ kind }) => kind === 'Job') as Job | undefined;
      args = job?.spec.template.spec.containers[0]?.args ?? [];
      files = hooks.find(({ kind }) => kind === 'ConfigMap')?.['data'] as Record<string, string>;
      const input = JSON.stringify({
        apiVersion: 'v1',
        kind: 'List',
        items: hooks.filter(({ kind }) => kind !== 'Job'),
      });
      await cluster().mustKubectl(['apply', '--server-side', '-f', '-'], { input });
    }, 60_000);

    beforeEach(async () => {
      const names = Object.keys(files).map((name) => name.replace('.yaml', '.weir.dev'));
      await cluster().mustKubectl(['delete', 'crd', '--ignore-not-found', '--wait', ...names]);
    });

    afterAll(async () => {
      await rm(folder, { recursive: true, force: true });
    });

    test('makes both kinds, served when it returns; a second time changes nothing', async () => {
      await run();
      await applyRoute('first', {});
      const before = await versionOf();
      await run();
      expect(await versionOf()).toBe(before);
    });

    test('widens those of an older release, also when kubectl made them', async () => {
      const input = older()['modelroutes.yaml'] ?? '';
      await cluster().mustKubectl(['apply', '--server-side', '-f', '-'], { input });
      expect(await servedFields()).not.toContain('hostnames');
      await run();
      expect(await servedFields()).toContain('hostnames');
      expect(await cluster().mustKubectl(['get', 'crd', 'mcpservers.weir.dev', '-o', 'name'])).toContain('mcpservers');
    });

    test('leaves those of a newer release, and no object loses a field', async () => {
      await run(newer());
      await applyRoute('early', { ofTomorrow: 'kept' });
      const before = await versionOf();
      await run();
      expect(await versionOf()).toBe(before);
      await cluster().mustKubectl(['label', 'modelroutes.weir.dev', 'early', 'written=again']);
      const field = ['get', 'modelroutes.weir.dev', 'early', '-o', 'jsonpath={.spec.ofTomorrow}'];
      expect(await cluster().mustKubectl(field)).toBe('kept');
    });

    test('refuses where each admits what the other does not, names both, and changes neither kind', async () => {
      const both = withField((fields) => {
        Reflect.deleteProperty(fields, 'hostnames');
        fields['ofTomorrow'] = { type: 'string' };
      });
      await cluster().mustKubectl(['apply', '--server-side', '-f', '-'], { input: both['modelroutes.yaml'] ?? '' });
      const before = await versionOf();
      await expect(run()).rejects.toThrow(
        /^modelroutes\.weir\.dev: the one in the cluster has v1alpha1 \.spec\.ofTomorrow, .*lacks v1alpha1 \.spec\.hostnames, .*; nothing was changed\./,
      );
      expect(await versionOf()).toBe(before);
      const { code } = await cluster().kubectl(['get', 'crd', 'mcpservers.weir.dev']);
      expect(code).not.toBe(0);
    });

    test('says which file is no kind, and that a folder is empty', async () => {
      await expect(run({ 'a.yaml': 'kind: Secret' })).rejects.toThrow(/a\.yaml is not a CustomResourceDefinition/);
      await expect(run({})).rejects.toThrow(/it has no \*\.yaml files/);
    });

    test('has no right to more than that', async () => {
      const can = async (...what: string[]): Promise<string> =>
        (await cluster().kubectl(['auth', 'can-i', ...what, '--as', ACCOUNT])).stdout.trim();
      expect(await can('patch', `crd/${MODEL_ROUTES}`)).toBe('yes');
      for (const what of [
        ['patch', 'crd/certificates.cert-manager.io'],
        ['delete', `crd/${MODEL_ROUTES}`],
        ['create', 'crd'],
        ['list', 'crd'],
        ['get', 'modelroutes.weir.dev'],
        ['get', 'secrets', '-n', OWN],
      ])
        expect([what, await can(...what)]).toEqual([what, 'no']);
    });
  });
}

function fieldsOf({ spec }: Crd): Record<string, object> {
  return spec.versions[0]!.schema.openAPIV3Schema.properties.spec.properties;
}

interface Job extends Manifest {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { args: readonly string[] }[] } };
  };
}

if (findHelm() === undefined) leaveOut('weir crds', NO_HELM, suite);
else suite();
