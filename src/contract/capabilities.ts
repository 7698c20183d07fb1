// Contract: the one table of what this version enforces. It makes the operator say NotSupported, a config list what it
// requires, and a limiter refuse (NACK) a config that needs more than it has.
import { MEASURE_NAMES, MEASURES } from './measures.ts';

/** One ability of the data plane, and the field of `spec` that asks for it. */
export interface Capability {
  readonly id: string;
  /** Path below the object, `[]` for "any element": `spec.rateLimiting.limits[].window`. */
  readonly path: string;
  /** Only these values ask for it; absent = the presence of the field does. */
  readonly values?: readonly (string | number | boolean)[];
  /** false: the API accepts the field, no limiter enforces it yet. */
  readonly enforced: boolean;
}

const LIMITS = 'spec.rateLimiting.limits[]';

type Row = readonly [id: string, path: string, ...values: (string | boolean)[]];

function rows(enforced: boolean, table: readonly Row[]): Capability[] {
  return table.map(([id, path, ...values]) => ({ id, path, enforced, ...(values.length > 0 ? { values } : {}) }));
}

/** The values of `measure`, and the other fields that only one measure has. */
function measureRows(enforced: boolean): Row[] {
  return MEASURE_NAMES.filter((name) => MEASURES[name].enforced === enforced).flatMap((name) => {
    const { capability, amountFields } = MEASURES[name];
    return [
      [capability, `${LIMITS}.measure`, name],
      ...amountFields.map((field): Row => [capability, `${LIMITS}.${field}`]),
    ];
  });
}

/** Every field that needs an ability of the limiter. Fields not listed here are bookkeeping (names, amounts). */
export const CAPABILITIES: readonly Capability[] = [
  ...rows(true, [
    ['model.every', 'spec.modelName', '*'],
    ['store.redis', 'spec.rateLimiting.redis.address'],
    ['store.redis-auth', 'spec.rateLimiting.redis.username'],
    ['store.redis-auth', 'spec.rateLimiting.redis.passwordSecretRef'],
    ['store.redis-tls', 'spec.rateLimiting.redis.tls'],
    ['scope.local', 'spec.rateLimiting.scope', 'Local'],
    ['failure.open', 'spec.rateLimiting.failurePolicy', 'Open'],
    ['failure.closed', 'spec.rateLimiting.failurePolicy', 'Closed'],
    ['failure.local', 'spec.rateLimiting.failurePolicy', 'Local'],
    ['enforcement.shadow', 'spec.rateLimiting.enforcement', 'Shadow'],
    ['enforcement.shadow', `${LIMITS}.enforcement`, 'Shadow'],
    ...measureRows(true),
    ['limit.bucket', `${LIMITS}.bucket`],
    ['limit.window', `${LIMITS}.window`],
    ['limit.group', `${LIMITS}.group`],
    ['limit.cost', `${LIMITS}.cost`],
    ['key.user', `${LIMITS}.per[].user`],
    ['key.application', `${LIMITS}.per[].application`],
    ['key.claim', `${LIMITS}.per[].claim`],
    ['key.header', `${LIMITS}.per[].header`],
    ['key.query', `${LIMITS}.per[].query`],
    ['key.client-ip', `${LIMITS}.per[].clientIP`],
    ['key.model', `${LIMITS}.per[].model`],
    ['key.tool', `${LIMITS}.per[].tool`],
    ['key.session', `${LIMITS}.per[].session`],
    ['key.constant', `${LIMITS}.per[].constant`],
    ['match.header', `${LIMITS}.when[].header`],
    ['match.claim', `${LIMITS}.when[].claim`],
    ['match.path', `${LIMITS}.when[].path`],
    ['match.method', `${LIMITS}.when[].method`],
    ['match.client-ip', `${LIMITS}.when[].clientIP`],
    ['match.query', `${LIMITS}.when[].query`],
    ['match.model', `${LIMITS}.when[].model`],
    ['match.tool', `${LIMITS}.when[].tool`],
    ['match.application', `${LIMITS}.when[].application`],
    ['match.user', `${LIMITS}.when[].user`],
    ['identity.trusted-headers', 'spec.authentication.trustedHeaders'],
    ['identity.trusted-hops', 'spec.authentication.clientIP'],
    ['mcp.shared', 'spec.rateLimiting.shared'],
    ['mcp.shared', 'spec.rateLimiting.global'],
    ['mcp.per-user', 'spec.rateLimiting.perUser'],
    ['mcp.tools', 'spec.rateLimiting.tools'],
    ['transport.streamable-http', 'spec.transport', 'streamable-http'],
    ['response', 'spec.rateLimiting.response'],
  ]),
  ...rows(false, [
    ['store.redis-sentinel', 'spec.rateLimiting.redis.sentinel'],
    ['store.redis-cluster', 'spec.rateLimiting.redis.cluster'],
    ['consistency.leased', 'spec.rateLimiting.consistency', 'Leased'],
    ...measureRows(false),
    ['limit.concurrency', `${LIMITS}.concurrency`],
    ['limit.cached-input-weight', `${LIMITS}.cachedInputWeight`],
    ['limit.cut-streams', `${LIMITS}.cutStreams`, true],
    ['match.estimate', `${LIMITS}.when[].estimate`],
    ['match.schedule', `${LIMITS}.when[].schedule`],
    ['estimation', 'spec.rateLimiting.estimation'],
    ['prices', 'spec.rateLimiting.prices'],
    ['prices', 'spec.rateLimiting.currency'],
    ['unmetered.allow', 'spec.rateLimiting.unmetered', 'Allow'],
    ['adaptive', 'spec.rateLimiting.adaptive'],
    ['mcp.tool-price', 'spec.rateLimiting.tools[].price'],
    ['identity.api-keys', 'spec.authentication.apiKeys'],
    ['identity.jwt', 'spec.authentication.jwt'],
    ['target.credential', 'spec.targets[].credential'],
    ['target.credential', 'spec.rules[].targets[].credential'],
    ['target.stream-usage', 'spec.targets[].streamUsage', 'Off'],
    ['target.stream-usage', 'spec.rules[].targets[].streamUsage', 'Off'],
    ['target.engine', 'spec.targets[].engine', 'VLLM'],
    ['target.engine', 'spec.rules[].targets[].engine', 'VLLM'],
    ['transport.sse', 'spec.transport', 'sse'],
  ]),
];

/** A place in an object that asks for a capability. `path` has real indices: `spec.rateLimiting.limits[2].window`. */
export interface CapabilityUse {
  readonly id: string;
  readonly path: string;
  readonly value: unknown;
  readonly enforced: boolean;
}

/** Every use of a capability in an object, in table order. */
export function usesOf(object: unknown): CapabilityUse[] {
  return CAPABILITIES.flatMap((capability) =>
    valuesAt(object, capability.path)
      .filter(({ value }) => asksFor(capability, value))
      .map(({ path, value }) => ({ id: capability.id, path, value, enforced: capability.enforced })),
  );
}

/**
 * The ids that a value at `path` asks for: the one way from a value to the name of its capability. A value that no row
 * names asks for nothing.
 */
export function capabilitiesAt(path: string, value: string | boolean = true): readonly string[] {
  return CAPABILITIES.filter((row) => row.path === path && asksFor(row, value)).map(({ id }) => id);
}

/** The ids a limiter of this version has: the enforced ones, less those taken away by `--without-capability`. */
export function ownCapabilities(without: readonly string[] = []): ReadonlySet<string> {
  const ids = CAPABILITIES.filter((capability) => capability.enforced).map((capability) => capability.id);
  return new Set(ids.filter((id) => !without.includes(id)));
}

/** The ids that `required` names and `own` lacks, sorted: the text of a NACK. */
export function missingCapabilities(required: readonly string[], own: ReadonlySet<string>): string[] {
  return [...new Set(required)].filter((id) => !own.has(id)).sort();
}

/** A value in an object, and where it is: `path` has real indices. */
export interface PlacedValue {
  readonly path: string;
  readonly value: unknown;
}

interface Step {
  readonly name: string;
  /** true: to any element of the list of that name. */
  readonly isList: boolean;
}

const STEPS = new Map<string, readonly Step[]>();

function stepsOf(path: string): readonly Step[] {
  return path.split('.').map((step) => {
    const isList = step.endsWith('[]');
    return { name: isList ? step.slice(0, -2) : step, isList };
  });
}

/** What is at `path` in an object, with `[]` for "any element"; absent members give nothing. */
export function valuesAt(object: unknown, path: string): readonly PlacedValue[] {
  let steps = STEPS.get(path);
  if (steps === undefined) STEPS.set(path, (steps = stepsOf(path)));
  return expand(object, steps, 0, '');
}

function asksFor(capability: Capability, value: unknown): boolean {
  if (value === undefined || value === null) return false;
  return capability.values === undefined || capability.values.some((candidate) => candidate === value);
}

function expand(value: unknown, steps: readonly Step[], at: number, path: string): readonly PlacedValue[] {
  const step = steps[at];
  if (step === undefined) return [{ path, value }];
  if (typeof value !== 'object' || value === null) return NOTHING;
  const member = (value as Record<string, unknown>)[step.name];
  if (member === undefined) return NOTHING;
  const here = path === '' ? step.name : `${path}.${step.name}`;
  if (!step.isList) return expand(member, steps, at + 1, here);
  if (!Array.isArray(member)) return NOTHING;
  return member.flatMap((element: unknown, index) => expand(element, steps, at + 1, `${here}[${index}]`));
}

/** Most of the places that are looked at are not there: no list is made for each. */
const NOTHING: readonly PlacedValue[] = [];
