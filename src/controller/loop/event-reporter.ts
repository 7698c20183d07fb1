// Controller: which changes of a status become Events. Input: conditions whose reason changed, once they are written.
// Output: an Event at once for what has to be fixed; for what every rollout passes through only when it persists.
import type { Condition } from '../../crd/types.ts';
import type { StoredObject } from '../kube/kube-types.ts';

export interface EventReporterSettings {
  readonly report: (object: StoredObject, condition: Condition) => void;
  /** The object as it is now; undefined: it is gone. */
  readonly find: (name: string) => StoredObject | undefined;
  /** How long what a rollout passes through must persist before it is reported, ms. */
  readonly persistsMs?: number;
}

/** Longer than a pod on an existing node takes to start its limiter. */
const PERSISTS_MS = 60_000;
/** Reasons of Programmed that pods and limiters cause by coming and going. */
const PASSING: ReadonlySet<string> = new Set([
  'Pending',
  'NoLimiters',
  'NoMatchingPods',
  'PartiallyProgrammed',
  'UnlimitedPods',
  'LimiterBypassed',
]);

export class EventReporter {
  readonly #settings: EventReporterSettings;
  /** Objects that stopped being programmed, not reported yet; and whether they were programmed before. */
  readonly #waiting = new Map<string, { readonly timer: NodeJS.Timeout; readonly wasProgrammed: boolean }>();

  constructor(settings: EventReporterSettings) {
    this.#settings = settings;
  }

  /** Objects whose change is not reported yet. */
  get depth(): number {
    return this.#waiting.size;
  }

  /** To be called when the status with these conditions is written. `object` has the status before it. */
  note(name: string, object: StoredObject, changed: readonly Condition[]): void {
    for (const condition of changed) {
      if (isPassing(condition)) this.#wait(name, object);
      // It is what it was, and what was in between was not reported.
      else if (condition.type !== 'Programmed' || !this.#isBack(name, condition))
        this.#settings.report(object, condition);
    }
  }

  /** The object is gone. */
  forget(name: string): void {
    clearTimeout(this.#waiting.get(name)?.timer);
    this.#waiting.delete(name);
  }

  stop(): void {
    for (const name of [...this.#waiting.keys()]) this.forget(name);
  }

  #isBack(name: string, { status }: Condition): boolean {
    const wasProgrammed = this.#waiting.get(name)?.wasProgrammed === true;
    this.forget(name);
    return wasProgrammed && status === 'True';
  }

  #wait(name: string, { status }: StoredObject): void {
    if (this.#waiting.has(name)) return;
    const wasProgrammed = programmedIn(status)?.status === 'True';
    const look = (): void => {
      this.#waiting.delete(name);
      const object = this.#settings.find(name);
      const condition = programmedIn(object?.status);
      if (object !== undefined && condition !== undefined && isPassing(condition))
        this.#settings.report(object, condition);
    };
    const timer = setTimeout(look, this.#settings.persistsMs ?? PERSISTS_MS).unref();
    this.#waiting.set(name, { timer, wasProgrammed });
  }
}

function isPassing({ type, status, reason }: Condition): boolean {
  return type === 'Programmed' && status === 'False' && PASSING.has(reason);
}

function programmedIn(status: unknown): Condition | undefined {
  const { conditions = [] } = (status ?? {}) as { readonly conditions?: readonly Condition[] };
  return conditions.find(({ type }) => type === 'Programmed');
}
