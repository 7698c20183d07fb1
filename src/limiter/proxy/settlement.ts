// Limiter, proxy: how a call ended -> what is charged for it. Pure: one table of all endings.
import { AS_RESERVED, REFUND, type Ending } from '../decide/usage.ts';
import type { UpstreamEnd } from './relay.ts';

interface EndingRow {
  readonly when: string;
  readonly holds: (end: UpstreamEnd) => boolean;
  /** read: what the answer said; where it said nothing, what was reserved. */
  readonly charge: 'nothing' | 'read' | 'as-reserved';
}

/** In this order: the first that holds. */
export const ENDINGS: readonly EndingRow[] = [
  { when: 'the upstream never got the request', holds: ({ reached }) => !reached, charge: 'nothing' },
  { when: 'it answered 4xx or 5xx', holds: ({ status = 0 }) => status >= 400, charge: 'nothing' },
  { when: 'it answered, perhaps not to the end', holds: ({ status }) => status !== undefined, charge: 'read' },
  // Hosted APIs finish what they have begun, and bill it.
  { when: 'the client left before an answer', holds: ({ clientLeft }) => clientLeft, charge: 'as-reserved' },
  {
    when: 'no answer came in time',
    holds: ({ error }) => error?.code === 'upstream_timeout',
    charge: 'as-reserved',
  },
  { when: 'the connection broke before an answer', holds: () => true, charge: 'nothing' },
];

/** What to settle for a call. */
export function endingOf(end: UpstreamEnd): Ending {
  switch (ENDINGS.find(({ holds }) => holds(end))?.charge) {
    case 'read':
      return end.reading === undefined ? AS_RESERVED : { kind: 'used', ...end.reading };
    case 'as-reserved':
      return AS_RESERVED;
    default:
      return REFUND;
  }
}
