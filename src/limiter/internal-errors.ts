// Limiter: faults of its own that nobody foresaw. In: what was thrown and where; out: a metric for each, and one log
// line for the first of a place, then at most one in ten seconds. The last net: nothing here throws.
import { systemClock, type Clock } from '../lib/clock.ts';
import { attempt } from '../lib/guarded.ts';
import type { Logger } from '../lib/log.ts';
import { catchUncaught } from '../lib/process-net.ts';
import { messageOf } from '../lib/thrown.ts';

/** Where a fault was caught: a fixed list, because it is the label of a metric. */
export type FaultPlace = 'traffic' | 'decision_api' | 'admin' | 'settle' | 'relay' | 'metrics' | 'observer' | 'process';

const QUIET_MS = 10_000;

interface Silence {
  untilMs: number;
  suppressed: number;
}

export interface InternalErrorsParts {
  readonly log: Pick<Logger, 'error'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly onError: (place: FaultPlace) => void;
}

/** Counts and logs faults of the limiter itself. */
export class InternalErrors {
  readonly #parts: InternalErrorsParts;
  readonly #silences = new Map<FaultPlace, Silence>();

  constructor(parts: InternalErrorsParts) {
    this.#parts = parts;
  }

  /** Never throws. `fields` go onto the log line: no credential, nothing of a body. */
  note(place: FaultPlace, error: unknown, fields: Readonly<Record<string, string>> = {}): void {
    attempt(() => {
      this.#parts.onError(place);
    });
    attempt(() => {
      this.#log(place, error, fields);
    });
  }

  #log(place: FaultPlace, error: unknown, fields: Readonly<Record<string, string>>): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const silence = this.#silences.get(place);
    if (silence !== undefined && nowMs < silence.untilMs) {
      silence.suppressed += 1;
      return;
    }
    this.#silences.set(place, { untilMs: nowMs + QUIET_MS, suppressed: 0 });
    const suppressed = silence?.suppressed ?? 0;
    this.#parts.log.error('internal error', {
      place,
      error: messageOf(error),
      at: placeInCode(error),
      ...(suppressed === 0 ? {} : { suppressed }),
      ...fields,
    });
  }
}

/** The last net under a limiter's process: what nobody caught is counted and logged, and the process goes on. */
export function processNet(log: Logger, metrics: { internalError(place: FaultPlace): void }): () => void {
  const errors = new InternalErrors({
    log,
    clock: systemClock,
    onError: (place) => {
      metrics.internalError(place);
    },
  });
  return catchUncaught((error) => {
    errors.note('process', error);
  });
}

/** The first line of the stack: enough to find it, and nothing that a caller sent. */
function placeInCode(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  return /^\s+at (.*)$/m.exec(stack)?.[1] ?? '';
}
