// CRD: writes the CustomResourceDefinitions; in: the kinds, out: deploy/crds/*.yaml, and the same beside the
// chart's templates. Run it with `npm run emit`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { GROUP, KINDS, VERSION } from './kinds/kinds.ts';
import type { Kind } from './kinds/kinds.ts';
import { defaultText, type Default, type SchemaData } from './schema.ts';

/** helm reads nothing outside a chart, so the chart has its own copy. */
const FOLDERS = ['../../deploy/crds/', '../../deploy/helm/files/crds/'].map((path) => new URL(path, import.meta.url));
const HEADER = '# Generated from src/crd by `npm run emit`. Do not edit.\n';

/** The CustomResourceDefinition of a kind, as plain data. */
export function customResourceDefinition(kind: Kind): Record<string, unknown> {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${kind.plural}.${GROUP}`,
      labels: { 'app.kubernetes.io/part-of': 'weir' },
    },
    spec: {
      group: GROUP,
      scope: 'Namespaced',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        shortNames: [kind.shortName],
        categories: ['weir'],
      },
      versions: [version(kind)],
    },
  };
}

/** Every file of deploy/crds by name, as it must be checked in. */
export function crdFiles(): ReadonlyMap<string, string> {
  return new Map(
    KINDS.map((kind) => {
      // 1.1 is what the API server reads: it must not take the word Off for a boolean
      const options = { version: '1.1', aliasDuplicateObjects: false, lineWidth: 120 } as const;
      return [`${kind.plural}.yaml`, HEADER + stringify(customResourceDefinition(kind), options)];
    }),
  );
}

function version(kind: Kind): Record<string, unknown> {
  const text = (description: string) => ({ type: 'string', description });
  return {
    name: VERSION,
    served: true,
    storage: true,
    subresources: { status: {} },
    additionalPrinterColumns: kind.columns,
    schema: {
      openAPIV3Schema: {
        type: 'object',
        description: kind.description,
        required: ['spec'],
        properties: {
          apiVersion: text('Version of the schema of this object.'),
          kind: text('Kind of this object.'),
          metadata: { type: 'object' },
          spec: structural(kind.spec),
          status: structural(kind.status),
        },
      },
    },
  };
}

/** A schema as the API server takes it. Defaults are part of the description and nothing else. */
function structural({ whenAbsent, ...schema }: SchemaData): SchemaData {
  const { properties, items, additionalProperties } = schema;
  return {
    ...schema,
    description: describe(schema.description, whenAbsent),
    ...(properties === undefined ? {} : { properties: mapValues(properties, structural) }),
    ...(items === undefined ? {} : { items: structural(items) }),
    ...(additionalProperties === undefined ? {} : { additionalProperties: structural(additionalProperties) }),
  };
}

/** The text of `kubectl explain`. */
function describe(description: string, whenAbsent: Default | undefined): string {
  return whenAbsent === undefined ? description : `${description} Default: ${defaultText(whenAbsent)}.`;
}

function mapValues<V, R>(record: Readonly<Record<string, V>>, change: (value: V) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

if (import.meta.main) {
  for (const folder of FOLDERS) {
    mkdirSync(folder, { recursive: true });
    for (const [name, content] of crdFiles()) writeFileSync(new URL(name, folder), content);
  }
}
