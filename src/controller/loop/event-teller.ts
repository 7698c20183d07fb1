// Controller: which changes of a status people are told of by Events. Input: conditions whose reason changed, once they are written.
// Output: an Event at once for what someone has to mend; for what every rollout passes through only when it stays.
import type { Condition } from '../../crd/types.ts';
import type { StoredObject } from '../kube/kube-types.ts';

export interface EventTellerSettings {
  readonly tell: (object: StoredObject, condition: Condition) => void;
  /** The object as it is now; undefined: it is gone. */
  readonly find: (name: string) => StoredObject | undefined;
  /** How long what a rollout passes through must stay before it is told, ms. */
  readonly staysMs?: number;
}

/** A pod that starts on a node that is there has its limiter long before. */
const STAYS_MS = 60_000;
/** Verdicts of Programmed that limiters and pods change by coming and going. */
const PASSING: ReadonlySet<string> = new Set([
  'Pending',
  'NoLimiters',
  'NoMatchingPods',
  'PartiallyProgrammed',
  'UnlimitedPods',
  'LimiterBypassed',
]);

export class EventTeller {
  readonly #settings: EventTellerSettings;
  /** Objects that are not programmed since a moment, and nobody was told; whether they were before. */
  readonly #waiting = new Map<string, { readonly timer: NodeJS.Timeout; readonly wasProgrammed: boolean }>();

  constructor(settings: EventTellerSettings) {
    this.#settings = settings;
  }

  /** Objects that wait for what they pass through to end. */
  get depth(): number {
    return this.#waiting.size;
  }

  /** To be called when the status with these conditions is written. `object` has the status before it. */
  note(name: string, object: StoredObject, changed: readonly Condition[]): void {
    for (const condition of changed) {
      if (isPassing(condition)) this.#wait(name, object);
      // It is again what it was, and nobody heard of what was in between.
      else if (condition.type !== 'Programmed' || !this.#isBack(name, condition))
        this.#settings.tell(object, condition);
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
        this.#settings.tell(object, condition);
    };
    const timer = setTimeout(look, this.#settings.staysMs ?? STAYS_MS).unref();
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
