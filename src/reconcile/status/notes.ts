// Reconcile, status: what of an accepted object works as written and could still surprise its author.
import type { LimitConfig, LimiterConfig, Target } from '../../contract/limiter-config.ts';
import { kindOf } from '../../crd/kinds/kinds.ts';
import { namesOf } from '../names.ts';

/** What a config does not tell of the spec that it was made of. */
export interface SpecFacts {
  /** The object names pods. */
  readonly hasPods: boolean;
  /** The object says what happens when Redis does not answer. */
  readonly hasFailurePolicy: boolean;
}

/** Notes for the message of Accepted, none for most objects. */
export function notesOn(config: LimiterConfig, { hasPods, hasFailurePolicy }: SpecFacts): string[] {
  return [...targetNotes(config, hasPods), ...identityNotes(config), ...(hasFailurePolicy ? [] : outageNotes(config))];
}

/** One long window closes every request to which it applies, whatever the policy of the other limits. */
function outageNotes({ limits, store, kind }: LimiterConfig): string[] {
  const closed = limits.filter(
    (limit) => limit.failurePolicy === 'Closed' && limit.enforcement === 'Enforce' && !isKillSwitch(limit),
  );
  if (store.type !== 'redis' || closed.length === 0) return [];
  const noun = `${kindOf(kind).request}s`;
  const applyToAll = closed.some(
    ({ when, group, per }) =>
      when.length === 0 && group === undefined && per.every(({ whenAbsent }) => whenAbsent === 'Share'),
  );
  const which = applyToAll ? `all ${noun}` : `${noun} to which they apply`;
  const names = namesOf(closed.map(({ name }) => name));
  return [
    `note: while Redis does not answer, ${which} are refused with 503, because failurePolicy is Closed by default for ` +
      `windows of a Day or longer (${names}); set rateLimiting.failurePolicy to choose otherwise`,
  ];
}

function isKillSwitch({ rule }: LimitConfig): boolean {
  return rule.kind === 'window' && rule.limit === 0;
}

function targetNotes({ routing }: LimiterConfig, hasPods: boolean): string[] {
  const lists: readonly (readonly Target[])[] =
    routing.kind === 'mcp' ? [routing.targets] : routing.rules.map((rule) => rule.targets);
  const notes: string[] = [];
  if (!hasPods && lists.some((targets) => targets.length === 0)) {
    notes.push('note: without targets, a shared limiter serves only the decision API and proxies nothing');
  }
  if (lists.some((targets) => targets.length > 0 && targets.every(({ weight }) => weight === 0))) {
    notes.push('note: a rule whose targets all have weight 0 serves no requests');
  }
  return notes;
}

function identityNotes({ identity }: LimiterConfig): string[] {
  const isUnbelieved = identity?.trustedHeaders !== undefined && identity.trustedHeaders.trustedPeers.length === 0;
  return isUnbelieved ? ['note: without authentication.trustedPeers, trustedHeaders are accepted from no peer'] : [];
}
