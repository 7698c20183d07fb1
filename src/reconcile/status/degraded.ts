// Reconcile, status: what the limiters of an object have trouble with, and who goes past them -> the verdict
// Degraded, which is bad when it holds.
import { storeLabelOf } from '../../contract/limiter-report.ts';
import { storeWordOf } from '../../contract/store-words.ts';
import type { DegradedReason } from '../../crd/kinds/conditions.ts';
import { namesOf } from '../names.ts';
import { bypassTexts } from './bypasses.ts';
import { cut } from '../problems.ts';
import type { Verdict } from './programmed.ts';
import type { InForce, LimiterTally, LimiterTrouble } from '../types.ts';

const LONGEST_DETAIL = 200;
/** For what the network says, and words of a server that are in no table. */
const NETWORK_ADVICE =
  'check that Redis runs there, that address and credentials are correct, and that no NetworkPolicy blocks the connection';

export const HEALTHY: Verdict<DegradedReason> = {
  holds: false,
  reason: 'Healthy',
  message: 'no limiter reports trouble with the store or an upstream',
};

const KINDS = ['unreachable', 'evicts', 'upstream'] as const;
const REASON_OF = { unreachable: 'StoreUnreachable', evicts: 'StoreEvicts', upstream: 'UpstreamUnreachable' } as const;

/**
 * The gravest trouble gives the reason, a way past the limiters when there is no other; the message names all of it.
 * While no limiter that is desired is connected nobody can say how it is: undefined.
 */
export function degradedVerdict(
  inForce: InForce | undefined,
  tally: LimiterTally,
): Verdict<DegradedReason> | undefined {
  if (inForce === undefined || tally.desired + tally.bypasses.length === 0) return HEALTHY;
  const present = KINDS.filter((kind) => tally.troubles.some((trouble) => trouble.kind === kind));
  const [gravest] = present;
  const unclaimed = unclaimedTexts(tally);
  if (gravest === undefined && tally.bypasses.length === 0) {
    if (tally.connected === 0) return undefined;
    return unclaimed.length === 0 ? HEALTHY : { ...HEALTHY, reason: 'UnclaimedRequests', message: unclaimed.join() };
  }
  const texts = [...present.map((kind) => textOf(kind, inForce, tally)), ...bypassTexts(tally), ...unclaimed];
  const reason = gravest === undefined ? 'LimiterBypassed' : REASON_OF[gravest];
  return { holds: true, reason, message: texts.join('; ') };
}

function textOf(kind: LimiterTrouble['kind'], inForce: InForce, { troubles, desired }: LimiterTally): string {
  const those = troubles.filter((trouble) => trouble.kind === kind);
  const limiters = [...new Set(those.map(({ limiter }) => limiter))].sort();
  const who = `${limiters.length} of ${desired} limiters (${namesOf(limiters)})`;
  const detail = cut(those[0]?.detail ?? '', LONGEST_DETAIL);
  if (kind === 'unreachable') {
    const words = `${storeOf(inForce)}: ${detail.replace(/\.$/, '')}`;
    const advice = storeWordOf(detail)?.advice ?? NETWORK_ADVICE;
    return `${words}. ${who} cannot use this store: limits follow their failurePolicy; ${advice}`;
  }
  if (kind === 'evicts') {
    return `the store ${storeOf(inForce)} may evict buckets (${detail}, reported by ${who}), and evicted buckets start full again; set its maxmemory-policy to noeviction`;
  }
  return `${who} cannot connect to ${namesOf(upstreamsOf(those))}: check that the server runs and listens on that port, and that its Service has ready endpoints`;
}

/** Each once, with how its connections fail: `http://a:80 (accepts no connections)`. */
function upstreamsOf(troubles: readonly LimiterTrouble[]): readonly string[] {
  const details = new Map<string, string>();
  for (const { upstream, detail } of troubles) {
    if (upstream === undefined || (details.get(upstream) ?? '') !== '') continue;
    details.set(upstream, cut(detail, LONGEST_DETAIL));
  }
  return [...details].map(([upstream, detail]) => (detail === '' ? upstream : `${upstream} (${detail})`)).sort();
}

const MOST_MODELS = 3;
const LONGEST_MODEL = 64;

/** No trouble, but not what everyone expects of a route: it limits its own models and no other. */
function unclaimedTexts({ unclaimed = [] }: LimiterTally): string[] {
  if (unclaimed.length === 0) return [];
  const names = unclaimed.slice(0, MOST_MODELS).map(quoteModel).join(', ');
  return [
    `requests for models that no route claims pass unlimited (e.g. ${names}): ` +
      'name these models in a route, or add a route with modelName "*"',
  ];
}

/** Callers choose these names: they stand in quotes, short, in printable ASCII alone. */
function quoteModel(name: string): string {
  const escaped = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(name.slice(0, LONGEST_MODEL)).replaceAll(/[^\x20-\x7e]/g, escaped);
}

function storeOf({ config: { store } }: InForce): string {
  return store.type === 'redis' ? storeLabelOf(store.redis) : 'in memory';
}
