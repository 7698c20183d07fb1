// Limiter, decision API: the bodies it takes, as JSON Schema. docs/openapi.yaml holds the same schemas (a test compares
// them); ajv checks requests against them, so what is documented is what is accepted.
import { OBJECT_KINDS, type ObjectKind } from '../../contract/limiter-config.ts';

const NAME = { type: 'string', minLength: 1, maxLength: 253 } as const;
const TEXT = { type: 'string', maxLength: 4096 } as const;
const HITS = { type: 'integer', minimum: 0, maximum: 1_000_000_000_000 } as const;

export const OBJECT_SCHEMA = {
  type: 'object',
  description: 'The object whose limits apply; without it the request is routed as the proxy routes it.',
  properties: { kind: { type: 'string', enum: OBJECT_KINDS }, namespace: NAME, name: NAME },
  required: ['kind', 'namespace', 'name'],
  additionalProperties: false,
} as const;

export const FACTS_SCHEMA = {
  type: 'object',
  description: 'What is known of the request. The caller of this API is trusted, also for user and application.',
  properties: {
    method: { ...TEXT, description: 'Default POST.' },
    host: { ...TEXT, description: 'Host name without port.' },
    path: { type: 'string', pattern: '^/', maxLength: 8192, description: 'Default /.' },
    query: { type: 'string', maxLength: 8192, description: 'Query string with or without its "?".' },
    headers: { type: 'object', maxProperties: 256, additionalProperties: { type: 'string', maxLength: 65536 } },
    clientIP: { ...TEXT, description: "The client's address." },
    model: TEXT,
    tool: TEXT,
    session: TEXT,
    user: TEXT,
    application: TEXT,
    attributes: { type: 'object', maxProperties: 256, description: 'What `claim` matches and key parts read.' },
  },
  additionalProperties: false,
} as const;

export const DECIDE_SCHEMA = {
  type: 'object',
  properties: {
    object: OBJECT_SCHEMA,
    request: FACTS_SCHEMA,
    mode: {
      type: 'string',
      enum: ['reserve', 'peek'],
      description: 'reserve (default) takes the amount; peek reports the decision and takes nothing.',
    },
    hits: { ...HITS, description: 'How many requests to decide on together; default 1.' },
  },
  required: ['request'],
  additionalProperties: false,
} as const;

export const SETTLE_SCHEMA = {
  type: 'object',
  properties: {
    reservation: { ...NAME, description: 'From the answer of /v1/decide.' },
    hits: { ...HITS, description: 'How many requests were made; 0 refunds all of them. Default: as reserved.' },
  },
  required: ['reservation'],
  additionalProperties: false,
} as const;

export const REPORT_SCHEMA = {
  type: 'object',
  properties: {
    object: OBJECT_SCHEMA,
    request: FACTS_SCHEMA,
    hits: { ...HITS, description: 'Requests to charge; default 1.' },
    id: { ...NAME, description: 'Charges once per id for 10 minutes; default: a new one.' },
  },
  required: ['request'],
  additionalProperties: false,
} as const;

export const EXPLAIN_SCHEMA = {
  type: 'object',
  properties: { object: OBJECT_SCHEMA, request: FACTS_SCHEMA, hits: HITS },
  required: ['request'],
  additionalProperties: false,
} as const;

/** The facts of a request, as the schema admits them. */
export interface FactsBody {
  readonly method?: string;
  readonly host?: string;
  readonly path?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly clientIP?: string;
  readonly model?: string;
  readonly tool?: string;
  readonly session?: string;
  readonly user?: string;
  readonly application?: string;
  readonly attributes?: Readonly<Record<string, unknown>>;
}

export interface ObjectBody {
  readonly kind: ObjectKind;
  readonly namespace: string;
  readonly name: string;
}

/** What decide, report and explain have in common. */
export interface SubjectBody {
  readonly object?: ObjectBody;
  readonly request: FactsBody;
  readonly hits?: number;
}

export interface DecideBody extends SubjectBody {
  readonly mode?: 'reserve' | 'peek';
}

export interface ReportBody extends SubjectBody {
  readonly id?: string;
}

export interface SettleBody {
  readonly reservation: string;
  readonly hits?: number;
}
