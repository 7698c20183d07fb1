// Limiter: may traffic be sent here? In: the states of a limiter; out: yes or no, and why. Pure.
import type { LimiterSettings } from './settings.ts';

export interface ReadinessFacts {
  readonly isDraining: boolean;
  /** The traffic port is open. */
  readonly isListening: boolean;
  readonly state: 'waiting' | 'unconfigured' | 'configured';
  /** A store has answered once, or was silent for long enough. */
  readonly hasContact: boolean;
  readonly unconfiguredPolicy: LimiterSettings['unconfiguredPolicy'];
}

export function readinessOf(facts: ReadinessFacts): { readonly ready: boolean; readonly reason: string } {
  if (facts.isDraining) return { ready: false, reason: 'draining' };
  // Configs come in before requests can: until then nobody must be sent here.
  if (!facts.isListening) return { ready: false, reason: 'not listening yet' };
  if (facts.state === 'configured') {
    return { ready: facts.hasContact, reason: facts.hasContact ? 'ok' : 'waiting for the first answer of a store' };
  }
  if (facts.state === 'waiting') return { ready: false, reason: 'waiting for the first configuration' };
  const passes = facts.unconfiguredPolicy === 'Pass';
  return { ready: passes, reason: `unconfigured: ${passes ? 'passing' : 'refusing'} all requests` };
}
