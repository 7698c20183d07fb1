// Reconcile, compile: `rateLimiting` as written -> the limits that a limiter evaluates, every default resolved.
import type {
  BucketRule,
  Enforcement,
  FailurePolicy,
  KeyPart,
  LimitConfig,
  WindowPeriod,
  WindowRule,
} from '../../contract/limiter-config.ts';
import { DEFAULTS } from '../../crd/defaults.ts';
import type { KeyPartSpec as KeyPartSpec } from '../../crd/kinds/key-part.ts';
import type { Bucket, Limit, LimitBucket, Window } from '../../crd/kinds/limit.ts';
import type { MCPRateLimiting, ModelRateLimiting, ToolSpec } from '../../crd/kinds/rate-limiting.ts';
import { parseDurationMicros } from '../../lib/values/duration.ts';
import { compileMatch } from './compile-conditions.ts';
import { given } from '../optional.ts';

/** Windows of these periods are Closed when the store does not answer: a local share of a day's budget is too large. */
const LONG_PERIODS: ReadonlySet<WindowPeriod> = new Set(['Day', 'Week', 'Month', 'Year']);

/** What the object says for all its limits. */
interface Common {
  readonly enforcement: Enforcement;
  /** Absent: by the kind of limit. */
  readonly failurePolicy?: FailurePolicy;
}

/** The limits of an object that `limits` lists, in list order. */
export function compileLimits(rateLimiting: ModelRateLimiting | MCPRateLimiting): LimitConfig[] {
  const common = commonOf(rateLimiting);
  return (rateLimiting.limits ?? []).map((limit) => compileLimit(limit, common));
}

function commonOf(rateLimiting: ModelRateLimiting | MCPRateLimiting): Common {
  const enforcement = rateLimiting.enforcement ?? DEFAULTS.rateLimiting.enforcement;
  return { enforcement, ...given('failurePolicy', rateLimiting.failurePolicy) };
}

function compileLimit(spec: Limit, common: Common): LimitConfig {
  const rule = spec.bucket === undefined ? windowRule(spec.window) : bucketRule(spec.bucket);
  return {
    name: spec.name,
    measure: spec.measure ?? DEFAULTS.limit.measure,
    rule,
    per: (spec.per ?? []).map(compileKeyPart),
    when: (spec.when ?? []).map(compileMatch),
    ...given('group', spec.group),
    priority: spec.priority ?? DEFAULTS.limit.priority,
    enforcement: spec.enforcement ?? common.enforcement,
    failurePolicy: common.failurePolicy ?? defaultFailurePolicy(rule),
    cost: spec.cost ?? DEFAULTS.limit.cost,
  };
}

/**
 * What a limit does without its store when the object does not say. Each limit has its own; a request needs all of
 * its limits.
 */
export function defaultFailurePolicy(rule: BucketRule | WindowRule): FailurePolicy {
  return rule.kind === 'window' && LONG_PERIODS.has(rule.period) ? 'Closed' : 'Local';
}

function bucketRule(spec: LimitBucket): BucketRule {
  const maxTokens = spec.maxTokens ?? 0;
  return {
    kind: 'bucket',
    maxTokens,
    refillPeriodMicros: parseDurationMicros(spec.refillPeriod) ?? 0,
    burst: spec.burst ?? maxTokens,
  };
}

function windowRule(spec: Window | undefined): WindowRule {
  return {
    kind: 'window',
    limit: spec?.limit ?? 0,
    period: spec?.period ?? 'Second',
    timeZone: spec?.timeZone ?? DEFAULTS.timeZone,
  };
}

/** One part of a key. Header names are lower case, as limiters hold them. */
function compileKeyPart(spec: KeyPartSpec): KeyPart {
  const common = { ...given('fallback', spec.fallback), whenAbsent: spec.whenAbsent ?? DEFAULTS.keyPart.whenAbsent };
  if (spec.claim !== undefined) return { type: 'claim', name: spec.claim, ...common };
  if (spec.header !== undefined) return { type: 'header', name: spec.header.toLowerCase(), ...common };
  if (spec.query !== undefined) return { type: 'query', name: spec.query, ...common };
  if (spec.constant !== undefined) return { type: 'constant', value: spec.constant, ...common };
  if (spec.clientIP !== undefined) {
    const { prefixV4 = DEFAULTS.keyPart.prefixV4, prefixV6 = DEFAULTS.keyPart.prefixV6 } = spec.clientIP;
    return { type: 'clientIP', prefixV4, prefixV6, ...common };
  }
  return { type: PLAIN_PARTS.find((part) => spec[part] !== undefined) ?? 'user', ...common };
}

/** Parts that need no more words than their name. */
const PLAIN_PARTS = ['user', 'application', 'model', 'tool', 'session'] as const;

const ONE_BUCKET_PER_USER: readonly KeyPart[] = [{ type: 'user', whenAbsent: DEFAULTS.keyPart.whenAbsent }];

/**
 * The limits that the short form of an MCPServer stands for, the server's first, then those of its tools, which apply
 * to the calls of that tool beside the server's.
 */
export function compileShortForm(rateLimiting: MCPRateLimiting): LimitConfig[] {
  const common = commonOf(rateLimiting);
  const tools = (rateLimiting.tools ?? []).flatMap((tool) =>
    bucketsOf(`tools/${tool.name}/`, tool).map((limit) => ({ ...limit, tool: tool.name })),
  );
  return [...bucketsOf('', rateLimiting), ...tools].map((limit) => shortLimit(limit, common));
}

interface ShortLimit {
  readonly name: string;
  readonly bucket: Bucket;
  readonly per: readonly KeyPart[];
  /** Absent: every tool. */
  readonly tool?: string;
}

/**
 * `global` is an earlier spelling of `shared`: both give the same limit, so a change of spelling keeps what was used.
 */
function bucketsOf(prefix: string, spec: Pick<ToolSpec, 'shared' | 'global' | 'perUser'>): ShortLimit[] {
  const shared = spec.shared ?? spec.global;
  return [
    ...(shared === undefined ? [] : [{ name: `${prefix}shared`, bucket: shared, per: [] }]),
    ...(spec.perUser === undefined
      ? []
      : [{ name: `${prefix}perUser`, bucket: spec.perUser, per: ONE_BUCKET_PER_USER }]),
  ];
}

function shortLimit(limit: ShortLimit, common: Common): LimitConfig {
  const rule = bucketRule(limit.bucket);
  return {
    name: limit.name,
    measure: DEFAULTS.limit.measure,
    rule,
    per: limit.per,
    when: limit.tool === undefined ? [] : [{ not: false, tool: { exact: limit.tool } }],
    priority: DEFAULTS.limit.priority,
    enforcement: common.enforcement,
    failurePolicy: common.failurePolicy ?? defaultFailurePolicy(rule),
    cost: DEFAULTS.limit.cost,
  };
}
