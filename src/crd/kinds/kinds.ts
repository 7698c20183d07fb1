// CRD: the two kinds as the API server knows them; in: nothing, out: names, columns and schemas by kind.
import type { ObjectKind } from '../../contract/limiter-config.ts';
import { status, type ConditionType } from './conditions.ts';
import { mcpServerSpec } from './mcp-server.ts';
import { modelRouteSpec } from './model-route.ts';
import type { SchemaData } from '../schema.ts';

export const GROUP = 'weir.dev';
export const VERSION = 'v1alpha1';
/** The apiVersion of every object of ours. */
export const API_VERSION = `${GROUP}/${VERSION}`;

/** A column of `kubectl get`. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description?: string;
}

/** Everything that the API server needs to know about a kind. */
export interface Kind {
  readonly kind: ObjectKind;
  readonly plural: string;
  readonly singular: string;
  readonly shortName: string;
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
    description: 'Whether all of it is in force.',
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

export const KINDS: readonly Kind[] = [
  {
    kind: 'ModelRoute',
    plural: 'modelroutes',
    singular: 'modelroute',
    shortName: 'wmr',
    description: 'ModelRoute defines where models are served, and the rate limits of their callers.',
    spec: modelRouteSpec,
    status,
    columns: [
      { name: 'Model', type: 'string', jsonPath: '.spec.modelName', description: 'The model that requests name.' },
      ...COMMON_COLUMNS,
    ],
  },
  {
    kind: 'MCPServer',
    plural: 'mcpservers',
    singular: 'mcpserver',
    shortName: 'wmcp',
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
];

/** The kind of that name; undefined when it is not ours. */
export function kindNamed(name: unknown): Kind | undefined {
  return KINDS.find(({ kind }) => kind === name);
}
