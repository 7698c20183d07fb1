// CLI: `weir grant`; in: a namespace and names of Secrets, or manifests that name them, out: the Roles and
// RoleBindings that let the operator read exactly those Secrets, as YAML for `kubectl apply -f -`.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { Command, InvalidArgumentError } from 'commander';
import { stringify } from 'yaml';
import { USUAL_ACCOUNT } from '../contract/names.ts';
import { judgeText } from '../crd/validate.ts';
import { messageOf } from '../lib/thrown.ts';
import { secretRefsOf } from '../reconcile/references.ts';
import { flag, listOf, parseNamespace } from './flags/flags.ts';

interface GrantFlags {
  readonly namespace?: string;
  readonly secret: readonly string[];
  readonly filename: readonly string[];
  readonly serviceAccount: string;
}

/** Secrets by namespace. */
type Wanted = ReadonlyMap<string, ReadonlySet<string>>;

/** Input that names no Secret, or cannot be read; the message has the fix. */
class GrantError extends Error {}

const SECRET_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LONGEST_NAME = 253;

/** The subcommand `grant`: prints YAML; exit code 2 for invalid input. */
export function grantCommand(print: (text: string) => void = (text) => process.stdout.write(text)): Command {
  const command = new Command('grant')
    .description(
      'Print the Roles and RoleBindings that let the operator read Secrets of a namespace. Needs no rights itself: kubectl applies them with yours.',
    )
    .addOption(
      flag(
        '-n, --namespace <name>',
        'WEIR_GRANT_NAMESPACE',
        'namespace of the Secrets, and of manifests that name none',
      ) //
        .argParser(parseNamespace),
    )
    .addOption(
      flag('-s, --secret <names>', 'WEIR_GRANT_SECRET', 'Secrets to grant, repeated or with commas')
        .default([], '')
        .argParser(listOf(parseSecretName)),
    )
    .addOption(
      flag(
        '-f, --filename <file>',
        'WEIR_GRANT_FILENAME',
        'manifests whose Secrets are granted, repeated; - is standard input',
      )
        .default([], '')
        .argParser((text: string, before: readonly string[]) => [...before, text]),
    )
    .addOption(
      flag('--service-account <namespace/name>', 'WEIR_GRANT_SERVICE_ACCOUNT', 'account of the operator')
        .default(USUAL_ACCOUNT)
        .argParser(parseAccount),
    )
    .addHelpText(
      'after',
      `
Examples:
  weir grant --namespace tools --secret redis-auth | kubectl apply -f -
  kubectl -n weir-system exec deploy/weir-operator -- weir grant --namespace tools --secret redis-auth | kubectl apply -f -
  kubectl -n weir-system exec -i deploy/weir-operator -- weir grant -f - < manifest.yaml | kubectl apply -f -`,
    );
  return command.action(async (flags: GrantFlags) => {
    try {
      print(grantsFor(await wantedBy(flags), flags.serviceAccount));
    } catch (error) {
      if (error instanceof GrantError) command.error(`error: ${error.message}`, { exitCode: 2 });
      throw error;
    }
  });
}

/** One Role and one RoleBinding for each Secret, so that grants add up in whatever order they are applied. */
export function grantsFor(wanted: Wanted, account: string): string {
  const [accountNamespace = '', accountName = ''] = account.split('/');
  const documents = [...wanted].flatMap(([namespace, secrets]) =>
    [...secrets].sort().flatMap((secret) => {
      const metadata = { name: roleName(secret), namespace };
      const apiVersion = 'rbac.authorization.k8s.io/v1';
      const rule = {
        apiGroups: [''],
        resources: ['secrets'],
        resourceNames: [secret],
        verbs: ['get', 'list', 'watch'],
      };
      return [
        { apiVersion, kind: 'Role', metadata, rules: [rule] },
        {
          apiVersion,
          kind: 'RoleBinding',
          metadata,
          roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: metadata.name },
          subjects: [{ kind: 'ServiceAccount', name: accountName, namespace: accountNamespace }],
        },
      ];
    }),
  );
  // kubectl reads YAML 1.1, where a bare y or on is a boolean.
  return documents.map((document) => `---\n${stringify(document, { lineWidth: 120, version: '1.1' })}`).join('');
}

function roleName(secret: string): string {
  const name = `weir-read-${secret}`;
  if (name.length <= LONGEST_NAME) return name;
  return `weir-read-${createHash('sha256').update(secret).digest('hex')}`;
}

async function wantedBy({ namespace, secret, filename }: GrantFlags): Promise<Wanted> {
  if (secret.length === 0 && filename.length === 0) {
    throw new GrantError('nothing to grant: name Secrets with --secret, or manifests with --filename');
  }
  if (secret.length > 0 && namespace === undefined) {
    throw new GrantError('--secret needs --namespace: a grant is for the Secrets of one namespace');
  }
  const wanted = new Map<string, Set<string>>();
  const want = (of: string, name: string): void => {
    wanted.set(of, (wanted.get(of) ?? new Set()).add(name));
  };
  for (const name of secret) want(namespace ?? '', name);
  for (const file of filename) for (const [of, name] of await secretsIn(file, namespace)) want(of, name);
  if (wanted.size === 0) throw new GrantError(`${filename.join(', ')}: no object there names a Secret`);
  return wanted;
}

async function secretsIn(file: string, namespace: string | undefined): Promise<[string, string][]> {
  const content = await contentOf(file);
  return judgeText(content).flatMap((verdict) => {
    if (verdict.foreign) return [];
    const at = `${file}:${verdict.line}`;
    const [finding] = verdict.findings;
    if (verdict.shaped === undefined) {
      throw new GrantError(
        `${at}: ${finding?.path ?? ''}: ${finding?.message ?? 'unreadable'} (weir validate says more)`,
      );
    }
    const refs = secretRefsOf(verdict.shaped.spec);
    const of = verdict.namespace ?? namespace;
    if (refs.length > 0 && of === undefined) {
      throw new GrantError(`${at}: ${verdict.kind} ${verdict.name} says no namespace: add --namespace`);
    }
    return refs.map(({ name }): [string, string] => [of ?? '', name]);
  });
}

async function contentOf(file: string): Promise<string> {
  try {
    return file === '-' ? await readAll(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    throw new GrantError(`${file}: cannot be read: ${messageOf(error)}`);
  }
}

function parseSecretName(text: string): string {
  if (text.length <= LONGEST_NAME && SECRET_NAME.test(text)) return text;
  throw new InvalidArgumentError(`"${text}" is not the name of a Secret`);
}

function parseAccount(text: string): string {
  const [namespace = '', name = '', ...rest] = text.split('/');
  if (rest.length > 0 || !SECRET_NAME.test(name)) throw new InvalidArgumentError('expected <namespace>/<name>');
  parseNamespace(namespace);
  return text;
}
