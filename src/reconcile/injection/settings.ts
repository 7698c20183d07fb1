// Reconcile, injection: what the injector puts into pods. Input: the text of the injection config (YAML). Output:
// checked settings with defaults, or an error that names the field and the fix.
import { Ajv, type ErrorObject } from 'ajv';
import { parse } from 'yaml';
import { parseDurationMicros } from '../../lib/values/duration.ts';
import { messageOf } from '../../lib/thrown.ts';
import { boundProblem, BOUNDS, budgetProblem, type BoundField, type Bounds } from './bounds.ts';
import type { Resources } from './resources.ts';

/** The injection config, as in its file. */
export interface InjectionConfig {
  /** Image of the limiter. */
  readonly image: string;
  /** Image of the container that redirects; without it no pod is redirected. */
  readonly initImage?: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Names of Secrets that the pod's namespace must have. */
  readonly imagePullSecrets: readonly string[];
  /** `host:port` of the operator's push port. */
  readonly operator: string;
  /** The name in the operator's certificate, when it is not that host. */
  readonly operatorName?: string;
  readonly resources?: Resources;
  readonly initResources?: Resources;
  readonly storeDeadline?: string;
  readonly unconfiguredPolicy?: 'Pass' | 'Refuse';
  readonly unconfiguredWait?: string;
  /** Of one request; absent: the limiter's defaults. */
  readonly bounds?: Bounds;
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
  /** How long a pod that is told to end goes on serving at least, seconds. */
  readonly drainSeconds: number;
  readonly tokenExpirationSeconds: number;
  /** Namespaces whose pods are never touched, beside kube-system and the operator's own. */
  readonly excludedNamespaces: readonly string[];
}

/** An injection config that cannot be used. */
export class InjectionConfigError extends Error {}

const TEXT = { type: 'string', minLength: 1, maxLength: 512 } as const;
const QUANTITIES = { type: 'object', additionalProperties: { type: ['string', 'number'] } } as const;
const RESOURCES = {
  type: 'object',
  additionalProperties: false,
  properties: { requests: QUANTITIES, limits: QUANTITIES },
} as const;

const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['image', 'operator'],
  properties: {
    image: TEXT,
    initImage: TEXT,
    imagePullPolicy: { enum: ['Always', 'IfNotPresent', 'Never'], default: 'IfNotPresent' },
    imagePullSecrets: { type: 'array', items: TEXT, maxItems: 10, default: [] },
    operator: { ...TEXT, pattern: '^[^\\s/:]+:[0-9]{1,5}$|^\\[[0-9a-fA-F:.]+\\]:[0-9]{1,5}$' },
    operatorName: TEXT,
    resources: RESOURCES,
    initResources: RESOURCES,
    storeDeadline: TEXT,
    unconfiguredPolicy: { enum: ['Pass', 'Refuse'] },
    unconfiguredWait: TEXT,
    bounds: {
      type: 'object',
      additionalProperties: false,
      properties: Object.fromEntries(Object.keys(BOUNDS).map((field) => [field, { type: ['string', 'integer'] }])),
    },
    logLevel: { enum: ['error', 'warn', 'info', 'debug'], default: 'info' },
    drainSeconds: { type: 'integer', minimum: 0, maximum: 600, default: 5 },
    tokenExpirationSeconds: { type: 'integer', minimum: 600, maximum: 86_400, default: 3600 },
    excludedNamespaces: { type: 'array', items: TEXT, maxItems: 1000, default: [] },
  },
} as const;

const validate = new Ajv({ allErrors: true, strict: false, useDefaults: true }).compile(SCHEMA);

/**
 * Reads an injection config.
 * @throws InjectionConfigError naming every field that is wrong, and what may be there
 */
export function parseInjectionConfig(text: string): InjectionConfig {
  const value = readYaml(text);
  const problems = validate(value) ? textProblems(value as InjectionConfig) : (validate.errors ?? []).map(say);
  if (problems.length > 0) throw new InjectionConfigError(problems.join('; '));
  return value as InjectionConfig;
}

function readYaml(text: string): unknown {
  try {
    return parse(text) as unknown;
  } catch (error) {
    throw new InjectionConfigError(`not YAML: ${messageOf(error)}`, { cause: error });
  }
}

function textProblems(config: InjectionConfig): string[] {
  const bounds = Object.entries(config.bounds ?? {}).flatMap(([field, value]) => {
    const problem = boundProblem(field as BoundField, value);
    return problem === undefined ? [] : [`bounds.${field}: "${value}": ${problem}`];
  });
  const durations = (['storeDeadline', 'unconfiguredWait'] as const)
    .filter((field) => config[field] !== undefined && parseDurationMicros(config[field]) === undefined)
    .map((field) => `${field}: not a duration: write 50ms, 10s, 1m30s`);
  const budget = budgetProblem(config.bounds ?? {});
  return [...durations, ...bounds, ...(budget === undefined ? [] : [`bounds.bodyBudget: ${budget}`])];
}

function say({ keyword, instancePath, params, message = 'is wrong' }: ErrorObject): string {
  const field = instancePath.slice(1).replaceAll('/', '.') || 'the config';
  if (keyword === 'required') return `${String(params['missingProperty'])}: required`;
  if (keyword === 'additionalProperties') {
    return `${String(params['additionalProperty'])}: no such field: one of ${fieldsAt(instancePath).join(', ')}`;
  }
  if (keyword === 'enum') return `${field}: one of ${(params['allowedValues'] as unknown[]).join(', ')}`;
  if (keyword === 'pattern' && field === 'operator')
    return 'operator: expected host:port, such as weir-operator.weir-system.svc:18000';
  return `${field}: ${message}`;
}

function fieldsAt(instancePath: string): string[] {
  if (instancePath === '') return Object.keys(SCHEMA.properties);
  return instancePath === '/bounds' ? Object.keys(BOUNDS) : ['requests', 'limits'];
}
