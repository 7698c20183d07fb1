// Tests of the injector: settings, and what a patch makes of a pod.
import type { InjectorSettings, NamespaceFacts, PatchOperation } from '../../../src/reconcile/injection/inject.ts';
import type { InjectablePod } from '../../../src/reconcile/injection/pod.ts';
import { parseInjectionConfig } from '../../../src/reconcile/injection/settings.ts';

/** A namespace that asks for limiters. */
export const LABELLED: NamespaceFacts = { name: 'demo', labels: { 'weir.dev/inject': 'true' } };

const FILE = { image: 'weir:0.2.0', initImage: 'weir-init:0.2.0', operator: 'weir-operator.weir-system.svc:18000' };
const OWN = {
  version: '0.2.0',
  ownNamespace: 'weir-system',
  caConfigMap: 'weir-ca',
  watchedNamespaces: [] as string[],
};

/** Members of the config file or of what the operator knows of itself; null takes one away. */
export function settingsWith(more: Readonly<Record<string, unknown>> = {}): InjectorSettings {
  const given = Object.entries<unknown>({ ...FILE, ...more }).filter(([, value]) => value !== null);
  const own = given.filter(([name]) => name in OWN);
  const file = given.filter(([name]) => !(name in OWN));
  return { ...parseInjectionConfig(JSON.stringify(Object.fromEntries(file))), ...OWN, ...Object.fromEntries(own) };
}

/** The pod after the patch; like the API server, it knows no member that is not there. */
export function patchedBy(patch: readonly PatchOperation[], pod: InjectablePod): InjectablePod {
  const patched = copyOf(pod) as unknown as Record<string, unknown>;
  for (const operation of patch) {
    const names = operation.path
      .slice(1)
      .split('/')
      .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = names.pop() ?? '';
    let parent = patched;
    for (const name of names) {
      const next = parent[name];
      if (typeof next !== 'object' || next === null) throw new Error(`${operation.path}: there is no ${name}`);
      parent = next as Record<string, unknown>;
    }
    if (operation.op === 'add') parent[last] = copyOf(operation.value);
    else Reflect.deleteProperty(parent, last);
  }
  return patched as unknown as InjectablePod;
}

/** As over the wire. */
function copyOf<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}
