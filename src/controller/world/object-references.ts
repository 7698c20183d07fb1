// Controller: what around an object concerns it. Input: specs as they were read, believed in nothing. Output: the
// keys of the Services and Secrets that they name and of the pods that they select.
import { secretRefsOf } from '../../reconcile/references.ts';
import type { ServiceFacts } from '../../reconcile/types.ts';
import { pickMeta, type Service } from '../kube/kube-types.ts';
import { pairOf } from './pod-index.ts';

type Fields = Readonly<Record<string, unknown>>;

/** `<namespace>/<name>` of every Service that one of the specs sends requests to; sorted. */
export function servicesOf(namespace: string, specs: readonly unknown[]): string[] {
  const targets = specs
    .flatMap((spec) => [spec, ...listIn(spec, 'rules')])
    .flatMap((owner) => listIn(owner, 'targets'));
  const names = targets.map((target) => fieldsOf(fieldsOf(target)['service'])['name']);
  return sortedSet(names.filter((name) => typeof name === 'string').map((name) => `${namespace}/${name}`));
}

/** `<namespace>/<name>` of every Secret that one of the specs names, each once. */
export function secretsOf(namespace: string, specs: readonly unknown[]): string[] {
  return sortedSet(specs.flatMap((spec) => secretRefsOf(spec).map(({ name }) => `${namespace}/${name}`)));
}

/** One label of each selector: a pod that lacks it cannot be selected. */
export function selectorPair(namespace: string, specs: readonly unknown[]): string[] {
  const pairs = specs.flatMap((spec) => {
    const labels = fieldsOf(fieldsOf(fieldsOf(spec)['workloadSelector'])['matchLabels']);
    const [first] = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
    return first === undefined ? [] : [pairOf(namespace, first[0], String(first[1]))];
  });
  return sortedSet(pairs);
}

export function serviceFacts({ spec }: Service): ServiceFacts {
  const ports = (spec?.ports ?? []).map(({ name, port }) => ({ port, ...(name === undefined ? {} : { name }) }));
  return { type: spec?.type ?? 'ClusterIP', ports };
}

/** What the operator keeps of a Service. */
export function trimService({ metadata, spec }: Service): Service {
  const { ports, type, selector, clusterIP } = spec ?? {};
  return {
    metadata: pickMeta(metadata, 'namespace', 'uid', 'resourceVersion'),
    spec: {
      ...(ports === undefined ? {} : { ports }),
      ...(type === undefined ? {} : { type }),
      ...(selector === undefined ? {} : { selector }),
      ...(clusterIP === 'None' ? { clusterIP } : {}),
    },
  };
}

function listIn(owner: unknown, field: string): unknown[] {
  const list = fieldsOf(owner)[field];
  return Array.isArray(list) ? list : [];
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function sortedSet(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}
