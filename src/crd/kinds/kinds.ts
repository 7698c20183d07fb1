// CRD: the table of kinds. In: the schemas of their specs; out: of each kind its names, its place in the API, its
// columns, its schemas. Another kind is an entry here, its schema, and its routing (reconcile/compile).
import { OBJECT_KINDS, type ObjectKind } from '../../contract/limiter-config.ts';
import { status, type ConditionType } from './conditions.ts';
import { mcpServerSpec } from './mcp-server.ts';
import { modelRouteSpec } from './model-route.ts';
import type { Infer, SchemaData } from '../schema.ts';

export const GROUP = 'weir.dev';
export const VERSION = 'v1alpha1';
/** The apiVersion of every object of ours. */
export const API_VERSION = `${GROUP}/${VERSION}` as const;

/** Where every kind of ours is in the API. */
const IN_GROUP = { group: GROUP, version: VERSION } as const;

/** A column of `kubectl get`. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description?: string;
}

/** Everything that depends on the kind of an object, and where the objects are in the API (a resource type). */
export interface Kind<K extends ObjectKind = ObjectKind> {
  readonly kind: K;
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortName: string;
  /** What one of its requests is called in messages. */
  readonly request: string;
  /** Whether its requests name a model. */
  readonly namesModels: boolean;
  readonly description: string;
  readonly spec: SchemaData;
  readonly status: SchemaData;
  readonly columns: readonly PrinterColumn[];
}

const condition = (type: ConditionType, field: string) => `.status.conditions[?(@.type=="${type}")].${field}`;

const COMMON_COLUMNS: readonly PrinterColumn[] = [
  { name: 'Limits', type: 'integer', jsonPath: '.status.limitCount', description: 'Number of limits.' },
  {
    name: 'Ready',
    type: 'string',
    jsonPath: condition('Ready', 'status'),
    description: 'Whether limiters enforce the whole object.',
  },
  {
    name: 'Limiters',
    type: 'string',
    jsonPath: '.status.limiters.summary',
    description: 'Limiters that acknowledged this config / limiters that should.',
  },
  {
    name: 'Degraded',
    type: 'string',
    jsonPath: condition('Degraded', 'status'),
    description: 'Whether limiters report trouble, or traffic can bypass them.',
  },
  { name: 'Reason', type: 'string', jsonPath: condition('Ready', 'reason'), description: 'Why it is ready or not.' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
];

const TABLE = {
  ModelRoute: {
    ...IN_GROUP,
    kind: 'ModelRoute',
    plural: 'modelroutes',
    singular: 'modelroute',
    shortName: 'wmr',
    request: 'request',
    namesModels: true,
    description: 'ModelRoute defines where models are served, and the rate limits of their callers.',
    spec: modelRouteSpec,
    status,
    columns: [
      { name: 'Model', type: 'string', jsonPath: '.spec.modelName', description: 'The model that requests name.' },
      ...COMMON_COLUMNS,
    ],
  },
  MCPServer: {
    ...IN_GROUP,
    kind: 'MCPServer',
    plural: 'mcpservers',
    singular: 'mcpserver',
    shortName: 'wmcp',
    request: 'call',
    namesModels: false,
    description: 'MCPServer defines where an MCP server is served, and the rate limits of its tools.',
    spec: mcpServerSpec,
    status,
    columns: [
      {
        name: 'Tools',
        type: 'integer',
        jsonPath: '.status.toolCount',
        description: 'Number of tools with limits of their own.',
      },
      ...COMMON_COLUMNS,
    ],
  },
} as const satisfies { readonly [K in ObjectKind]: Kind<K> };

/** All kinds, in the order in which messages and files list them. */
export const KINDS: readonly Kind[] = OBJECT_KINDS.map((kind) => TABLE[kind]);

/** `spec` of an object of kind K as it was written. */
export type SpecOf<K extends ObjectKind> = Infer<(typeof TABLE)[K]['spec']>;

/** What is known of a kind. */
export function kindOf(kind: ObjectKind): Kind {
  return TABLE[kind];
}

/** The kind of that name; undefined when it is not ours. */
export function kindNamed(name: unknown): Kind | undefined {
  return KINDS.find(({ kind }) => kind === name);
}

/** One value per kind. */
export function byKind<T>(make: (kind: Kind) => T): Readonly<Record<ObjectKind, T>> {
  const entries = KINDS.map((kind) => [kind.kind, make(kind)] as const);
  return Object.fromEntries(entries) as Record<ObjectKind, T>;
}
