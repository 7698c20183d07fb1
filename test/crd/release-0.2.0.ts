// Tests: what release 0.2.0 knew of the kinds; in: a spec as written, out: the spec that its API server stored, its
// CRDs, and the versions of the configs that it made.
import { readFileSync } from 'node:fs';
import type { ObjectKind } from '../../src/contract/limiter-config.ts';
import { crdFiles } from '../../src/crd/emit.ts';
import { kindNamed } from '../../src/crd/kinds/kinds.ts';
import type { SchemaData } from '../../src/crd/schema.ts';
import { memberSchema } from '../../src/crd/structure.ts';
import { isRecord } from '../../src/crd/finding.ts';
import { parse } from 'yaml';

interface Release {
  /** Defaults of its CRDs by place: `ModelRoute.spec.targets[].weight`. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Objects as written, and the version of the config that it made of each under {@link SETTINGS}. */
  readonly objects: readonly {
    readonly name: string;
    readonly version: string;
    readonly kind: ObjectKind;
    readonly spec: Readonly<Record<string, unknown>>;
  }[];
}

export const RELEASE = parse(readFileSync(new URL('./release-0.2.0.yaml', import.meta.url), 'utf8')) as Release;
/** The settings of the operator for which the versions hold. */
export const SETTINGS = { defaultStore: { type: 'redis', redis: { address: 'redis.weir:6379' } } } as const;

/** A spec as the API server of 0.2.0 stored it: with every default of its schema. */
export function storedSpec(kind: string, spec: unknown): Readonly<Record<string, unknown>> {
  return filled(spec, kindNamed(kind)?.spec, `${kind}.spec`) as Readonly<Record<string, unknown>>;
}

function filled(value: unknown, schema: SchemaData | undefined, at: string): unknown {
  if (Array.isArray(value)) return value.map((element: unknown) => filled(element, schema?.items, `${at}[]`));
  if (!isRecord(value)) return value;
  const written = Object.entries(value).map(([name, member]): [string, unknown] => [
    name,
    filled(member, memberSchema(schema, name), `${at}.${name}`),
  ]);
  const missing = Object.keys(schema?.properties ?? {}).flatMap((name): [string, unknown][] => {
    const fallback = RELEASE.defaults[`${at}.${name}`];
    return Object.hasOwn(value, name) || fallback === undefined ? [] : [[name, structuredClone(fallback)]];
  });
  return Object.fromEntries([...written, ...missing]);
}

type Node = Record<string, unknown> & { properties?: Record<string, Node>; items?: Node };

/** Today's CRDs with the defaults that those of 0.2.0 had. */
export function crdsWithDefaults(): unknown[] {
  return [...crdFiles().values()].map((text) => {
    const crd = parse(text) as { spec: { names: { kind: string }; versions: { schema: { openAPIV3Schema: Node } }[] } };
    const root = crd.spec.versions[0]!.schema.openAPIV3Schema.properties!;
    addDefaults(root['spec']!, `${crd.spec.names.kind}.spec`);
    return crd;
  });
}

function addDefaults(node: Node, at: string): void {
  const fallback = RELEASE.defaults[at];
  if (fallback !== undefined) node['default'] = fallback;
  for (const [name, member] of Object.entries(node.properties ?? {})) addDefaults(member, `${at}.${name}`);
  if (node.items !== undefined) addDefaults(node.items, `${at}[]`);
}
