// Reconcile, status: what the limiters of an object have trouble with, and who goes past them -> the verdict Degraded, which is bad when it holds.
import { storeLabelOf } from '../../contract/limiter-report.ts';
import type { DegradedReason } from '../../crd/kinds/conditions.ts';
import { namesOf } from '../names.ts';
import { bypassTexts } from './bypasses.ts';
import { cut } from '../problems.ts';
import type { Verdict } from './programmed.ts';
import type { InForce, LimiterTally, LimiterTrouble } from '../types.ts';

const LONGEST_DETAIL = 200;

export const HEALTHY: Verdict<DegradedReason> = {
  holds: false,
  reason: 'Healthy',
  message: 'no limiter reports trouble with the store or an upstream',
};

const KINDS = ['unreachable', 'evicts', 'upstream'] as const;
const REASON_OF = { unreachable: 'StoreUnreachable', evicts: 'StoreEvicts', upstream: 'UpstreamUnreachable' } as const;

/**
 * The gravest trouble gives the reason, a way past the limiters when there is no other; the message names all of it. While no limiter that is desired is connected nobody can
 * say how it is: undefined.
 */
export function degradedVerdict(
  inForce: InForce | undefined,
  tally: LimiterTally,
): Verdict<DegradedReason> | undefined {
  if (inForce === undefined || tally.desired + tally.bypasses.length === 0) return HEALTHY;
  const present = KINDS.filter((kind) => tally.troubles.some((trouble) => trouble.kind === kind));
  const [gravest] = present;
  if (gravest === undefined && tally.bypasses.length === 0) return tally.connected === 0 ? undefined : HEALTHY;
  const texts = [...present.map((kind) => textOf(kind, inForce, tally)), ...bypassTexts(tally)];
  const reason = gravest === undefined ? 'LimiterBypassed' : REASON_OF[gravest];
  return { holds: true, reason, message: texts.join('; ') };
}

function textOf(kind: LimiterTrouble['kind'], inForce: InForce, { troubles, desired }: LimiterTally): string {
  const those = troubles.filter((trouble) => trouble.kind === kind);
  const limiters = [...new Set(those.map(({ limiter }) => limiter))].sort();
  const who = `${limiters.length} of ${desired} limiters (${namesOf(limiters)})`;
  const detail = cut(those[0]?.detail ?? '', LONGEST_DETAIL);
  if (kind === 'unreachable') {
    return `${who} cannot reach the store ${storeOf(inForce)} (${detail}): limits act as their failurePolicy says; check that Redis runs there, that its address and credentials are right and that no NetworkPolicy is in the way`;
  }
  if (kind === 'evicts') {
    return `the store ${storeOf(inForce)} may throw buckets away (${detail}, told by ${who}): callers get their limits anew when it does; set maxmemory-policy noeviction on it`;
  }
  const upstreams = [...new Set(those.flatMap(({ upstream }) => upstream ?? []))].sort();
  return `${who} get no connection to ${namesOf(upstreams)}: check that the server runs, listens on that port, and that its Service has ready endpoints`;
}

function storeOf({ config: { store } }: InForce): string {
  return store.type === 'redis' ? storeLabelOf(store.redis) : 'in memory';
}
