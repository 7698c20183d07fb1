// Tests `weir grant`: what it prints for names and for manifests, and what it says to input that cannot be meant.
import { describe, expect, test } from '@jest/globals';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommanderError } from 'commander';
import { parseAllDocuments } from 'yaml';
import { grantCommand } from '../../src/cli/grant-command.ts';

interface Grant {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly rules?: readonly { readonly resourceNames: readonly string[]; readonly verbs: readonly string[] }[];
  readonly subjects?: readonly { readonly name: string; readonly namespace: string }[];
}

const folder = mkdtempSync(join(tmpdir(), 'weir-grant-'));

interface Run {
  /** Absent when it did what it was told. */
  readonly refusal?: string;
  readonly grants: readonly Grant[];
}

async function run(...args: string[]): Promise<Run> {
  let printed = '';
  const command = grantCommand((text) => (printed += text))
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  const refusal = await command.parseAsync(args, { from: 'user' }).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof CommanderError) return error.message;
      throw error;
    },
  );
  // As kubectl reads them.
  const grants = parseAllDocuments(printed, { version: '1.1' }).map((document) => document.toJS() as Grant);
  return { grants, ...(refusal === undefined ? {} : { refusal }) };
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const route = (name: string, secret: string, namespace?: string): string => `---
apiVersion: weir.dev/v1alpha1
kind: ModelRoute
metadata: {name: ${name}${namespace === undefined ? '' : `, namespace: ${namespace}`}}
spec:
  modelName: m
  rateLimiting:
    redis: {address: "redis:6379", passwordSecretRef: {name: ${secret}, key: password}, tls: {caSecretRef: {name: ca, key: ca.crt}}}
    limits: [{name: a, bucket: {maxTokens: 1, refillPeriod: 1m}}]
`;

const shown = (grants: readonly Grant[]): string[] =>
  grants.map(({ kind, metadata, rules, subjects }) => {
    const what = rules?.map(({ resourceNames, verbs }) => `${verbs.join()} ${resourceNames.join()}`) ?? [];
    const whom = subjects?.map(({ namespace, name }) => `${namespace}/${name}`) ?? [];
    return [kind, `${metadata.namespace}/${metadata.name}`, ...what, ...whom].join(' ');
  });

describe('weir grant', () => {
  test('prints a Role and a RoleBinding for each Secret, to the usual account of the operator', async () => {
    const { refusal, grants } = await run('--namespace', 'tools', '--secret', 'redis-auth', '--secret', 'b,a');
    expect(refusal).toBeUndefined();
    const pair = (secret: string): string[] => [
      `Role tools/weir-read-${secret} get,list,watch ${secret}`,
      `RoleBinding tools/weir-read-${secret} weir-system/weir-operator`,
    ];
    expect(shown(grants)).toEqual([...pair('a'), ...pair('b'), ...pair('redis-auth')]);
  });

  test('takes from manifests just the Secrets that they name, each in its namespace', async () => {
    const path = file(
      'routes.yaml',
      [route('one', 'x', 'n1'), '---\nkind: Pod\napiVersion: v1\nmetadata: {name: p}\n', route('two', 'z')].join(''),
    );
    const { refusal, grants } = await run('-f', path, '--namespace', 'n2', '--service-account', 'ops/weir');
    expect(refusal).toBeUndefined();
    expect(shown(grants.filter(({ kind }) => kind === 'Role')).map((line) => line.split(' ')[1])).toEqual([
      'n1/weir-read-ca',
      'n1/weir-read-x',
      'n2/weir-read-ca',
      'n2/weir-read-z',
    ]);
    expect(grants.filter(({ subjects }) => subjects?.[0]?.namespace === 'ops')).toHaveLength(4);
  });

  test('a name that kubectl would read as something else is in quotes', async () => {
    const names = ['y', 'on', 'no', '1e3', '0x1', '010'];
    const { grants } = await run('-n', 'y', '-s', names.join());
    const roles = grants.filter(({ kind }) => kind === 'Role');
    expect(roles.flatMap(({ rules }) => rules?.[0]?.resourceNames).sort()).toEqual([...names].sort());
    expect(new Set(roles.map(({ metadata }) => metadata.namespace))).toEqual(new Set(['y']));
  });

  test('a name that is too long for a Role gets one of its own', async () => {
    const long = 'a'.repeat(250);
    const [role] = (await run('-n', 'tools', '-s', long)).grants;
    expect(role?.metadata.name.length).toBeLessThanOrEqual(253);
    expect(role?.rules?.[0]?.resourceNames).toEqual([long]);
  });

  test.each([
    ['nothing', [], 'nothing to grant: name Secrets with --secret'],
    ['no namespace', ['--secret', 'a'], '--secret requires --namespace'],
    ['a bad name', ['-n', 'tools', '--secret', 'A_B'], 'is not the name of a Secret'],
    ['a bad namespace', ['-n', 'Tools', '--secret', 'a'], 'is not the name of a namespace'],
    ['a bad account', ['-n', 'tools', '-s', 'a', '--service-account', 'weir'], 'expected <namespace>/<name>'],
    ['a file that is not there', ['-f', '/nowhere.yaml'], '/nowhere.yaml: cannot be read'],
    [
      'an object without a namespace',
      ['-f', file('bare.yaml', route('one', 'x'))],
      'has no namespace: add --namespace',
    ],
    ['an object that is no good', ['-f', file('bad.yaml', route('one', '{}', 'n'))], 'run weir validate for details'],
    [
      'no Secret at all',
      ['-f', file('none.yaml', 'kind: Pod\napiVersion: v1\nmetadata: {name: p}\n')],
      'references a Secret',
    ],
  ])('says how to mend %s, and grants nothing', async (_what, args, text) => {
    const { refusal, grants } = await run(...args);
    expect(refusal).toContain(text);
    expect(grants).toEqual([]);
  });
});
