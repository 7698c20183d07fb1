// Reconcile, status: what of an accepted object works as written and could still surprise its author.
import type { LimiterConfig, Target } from '../../contract/limiter-config.ts';

/** Notes for the message of Accepted, none for most objects. */
export function notesOn(config: LimiterConfig, hasPods: boolean): string[] {
  return [...targetNotes(config, hasPods), ...identityNotes(config)];
}

function targetNotes({ routing }: LimiterConfig, hasPods: boolean): string[] {
  const lists: readonly (readonly Target[])[] =
    routing.kind === 'mcp' ? [routing.targets] : routing.rules.map((rule) => rule.targets);
  const notes: string[] = [];
  if (!hasPods && lists.some((targets) => targets.length === 0)) {
    notes.push('note: without targets a shared limiter decides (decision API) and has nowhere to proxy to');
  }
  if (lists.some((targets) => targets.length > 0 && targets.every(({ weight }) => weight === 0))) {
    notes.push('note: where every target has weight 0, no request is served');
  }
  return notes;
}

function identityNotes({ identity }: LimiterConfig): string[] {
  const isUnbelieved = identity?.trustedHeaders !== undefined && identity.trustedHeaders.trustedPeers.length === 0;
  return isUnbelieved ? ['note: without authentication.trustedPeers, trustedHeaders are believed from nobody'] : [];
}
