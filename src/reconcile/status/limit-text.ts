// Reconcile, status: one limit among those of its object -> what it amounts to, for whom, for which requests, and
// what of it could surprise, in one line.
import type { FailurePolicy, KeyPart, LimitConfig, LimiterConfig } from '../../contract/limiter-config.ts';
import { kindOf } from '../../crd/kinds/kinds.ts';
import { formatDuration } from '../../lib/values/duration.ts';
import { defaultFailurePolicy } from '../compile/compile-limits.ts';

/** What a limit is seen among: all limits of the object, and where their buckets live. */
export type LimitContext = Pick<LimiterConfig, 'kind' | 'limits' | 'store'>;

/** The line of a limit in `status.limits[]`. */
export function describeLimit(limit: LimitConfig, context: LimitContext): string {
  const tiers = earlierTiers(limit, context.limits);
  const first = tiers.find(({ when }) => when.length === 0);
  if (first !== undefined) return neverApplies(limit, first, context);
  const requests = requestsOf(limit, tiers, context);
  const capacity = capacityOf(limit);
  const verb = limit.enforcement === 'Shadow' ? 'would refuse' : 'refuses';
  if (capacity === 0) return `${verb} every ${requests}: its limit is 0`;
  const { cost } = limit;
  if (cost > capacity) return `${verb} every ${requests}: one costs ${cost}, and the limit holds at most ${capacity}`;
  const scope = isEvery(limit, tiers) ? [] : [`for every ${requests}`];
  return [...scope, amountOf(limit, context), ...outageOf(limit, context)].join('; ');
}

/**
 * Limits of the group that are asked before this one and take what it would get. A Shadow limit takes nothing from
 * others.
 */
function earlierTiers(limit: LimitConfig, limits: readonly LimitConfig[]): LimitConfig[] {
  if (limit.group === undefined) return [];
  const at = limits.indexOf(limit);
  return limits.filter((other, index) => {
    if (other.group !== limit.group || index === at) return false;
    const isBefore = other.priority > limit.priority || (other.priority === limit.priority && index < at);
    return isBefore && (other.enforcement === 'Enforce' || limit.enforcement === 'Shadow');
  });
}

function neverApplies(limit: LimitConfig, first: LimitConfig, { kind }: LimitContext): string {
  const group = JSON.stringify(limit.group);
  const taker = `limit ${JSON.stringify(first.name)} of group ${group} takes every ${kindOf(kind).request} first`;
  return `never applies: ${taker}; give this limit a higher priority, or the other one a \`when\``;
}

/** `request that its when matches and that has a user`. */
function requestsOf(limit: LimitConfig, tiers: readonly LimitConfig[], { kind }: LimitContext): string {
  const noun = kindOf(kind).request;
  const tool = shortFormTool(limit);
  const clauses = [
    ...(limit.when.length > 0 && tool === undefined ? ['that its `when` matches'] : []),
    ...limit.per.filter(({ whenAbsent }) => whenAbsent === 'Skip').map((part) => `that has ${withArticle(part)}`),
    ...(tiers.length > 0 ? [`that no earlier limit of group ${JSON.stringify(limit.group)} takes`] : []),
  ];
  const what = tool === undefined ? noun : `${noun} of tool ${JSON.stringify(tool)}`;
  return [what, clauses.join(' and ')].filter((text) => text !== '').join(' ');
}

function isEvery(limit: LimitConfig, tiers: readonly LimitConfig[]): boolean {
  return limit.when.length === 0 && tiers.length === 0 && limit.per.every(({ whenAbsent }) => whenAbsent === 'Share');
}

/** The tool of `tools/<tool>/shared` and `tools/<tool>/perUser`: its condition is not one that the user wrote. */
function shortFormTool({ name, when }: LimitConfig): string | undefined {
  return name.startsWith('tools/') ? when[0]?.tool?.exact : undefined;
}

function capacityOf({ rule }: LimitConfig): number {
  return rule.kind === 'window' ? rule.limit : rule.burst;
}

function amountOf({ rule, per, cost, enforcement }: LimitConfig, { kind }: LimitContext): string {
  const whose = keyText(per);
  const each = cost === 1 ? '' : `, ${cost} for each ${kindOf(kind).request}`;
  const shadow = enforcement === 'Shadow' ? '; counts and reports, and never refuses' : '';
  if (rule.kind === 'window') {
    return `${rule.limit} per calendar ${rule.period} in ${rule.timeZone} ${whose}${each}${shadow}`;
  }
  const refill = `${rule.maxTokens} per ${formatDuration(rule.refillPeriodMicros)} ${whose}, at most ${rule.burst} at once`;
  return `${refill}${each}; up to ${rule.burst + rule.maxTokens} may pass in the first period${shadow}`;
}

/** Whose count it is. A constant part tells no callers apart. */
function keyText(per: readonly KeyPart[]): string {
  const parts = per.filter(({ type }) => type !== 'constant').map(partText);
  const [first, ...more] = parts;
  if (first === undefined) return 'for all callers together';
  return more.length === 0 ? `for each ${first}` : `for each combination of ${parts.join(', ')}`;
}

const PART_NOUNS: Readonly<Record<KeyPart['type'], string>> = {
  user: 'user',
  application: 'application',
  claim: 'claim',
  header: 'header',
  query: 'query parameter',
  clientIP: 'client address',
  model: 'model',
  tool: 'tool',
  session: 'session',
  constant: 'constant',
};

function partText({ type, name }: KeyPart): string {
  return name === undefined ? PART_NOUNS[type] : `${PART_NOUNS[type]} ${name}`;
}

function withArticle(part: KeyPart): string {
  const text = partText(part);
  return `${text.startsWith('a') ? 'an' : 'a'} ${text}`;
}

const OUTAGE: Readonly<Record<FailurePolicy, string>> = {
  Open: 'admits without counting',
  Closed: 'refuses with 503',
  Local: 'each limiter admits its share',
};

/** What happens while the store does not answer, and why. A Shadow limit has no say in it. */
function outageOf(limit: LimitConfig, { limits, store }: LimitContext): string[] {
  if (store.type !== 'redis' || limit.enforcement === 'Shadow') return [];
  const isDefault = limits.every((each) => each.failurePolicy === defaultFailurePolicy(each.rule));
  const { failurePolicy, rule } = limit;
  const kind = rule.kind === 'window' && failurePolicy === 'Closed' ? ' for windows of a Day or longer' : '';
  const why = isDefault ? `failurePolicy ${failurePolicy}, the default${kind}` : `failurePolicy ${failurePolicy}`;
  return [`while Redis does not answer: ${OUTAGE[failurePolicy]} (${why})`];
}
