// Controller: how the objects stand, as Prometheus gauges. Input: the outcome of each reconcile. Output: objects by
// reason, limiters by object, pods without limits by reason. Only the leader has series: no other replica hears from
// limiters.
import { Gauge, type Registry } from 'prom-client';
import { parseResourceName } from '../contract/limiter-config.ts';
import type { LimiterTally, ObjectStatus } from '../reconcile/types.ts';

/** What is kept of one reconcile. */
interface ObjectHealth {
  readonly kind: string;
  readonly isReady: boolean;
  /** Of the condition Ready. */
  readonly reason: string;
  readonly desired: number;
  readonly synced: number;
  /** `<namespace>/<pod>` -> why it carries no limiter. */
  readonly unlimited: ReadonlyMap<string, string>;
  /** `<namespace>/<pod>` of pods with a limiter that all known traffic passes by. */
  readonly bypassed: readonly string[];
}

type MakeGauge = (name: string, help: string, labelNames: string[], fill: (gauge: Gauge) => void) => void;

/** Most objects with series of their own: the oldest known ones keep theirs. */
const MOST_NAMED_OBJECTS = 1_000;

export class ObjectMetrics {
  readonly #objects = new Map<string, ObjectHealth>();

  /** To be made once for each registry. */
  constructor(registry: Registry, isLeader: () => boolean) {
    const gauge: MakeGauge = (name, help, labelNames, fill) => {
      new Gauge({
        name,
        help,
        labelNames,
        registers: [registry],
        collect() {
          this.reset();
          // Without labels a gauge is 0 after a reset; what is not known is absent.
          if (isLeader()) fill(this);
          else this.remove({});
        },
      });
    };
    this.#registerObjects(gauge);
    this.#registerPods(gauge);
  }

  #registerObjects(gauge: MakeGauge): void {
    gauge('weir_operator_objects', 'Objects by kind and by the reason of Ready.', ['kind', 'ready', 'reason'], (to) => {
      for (const { kind, isReady, reason } of this.#objects.values()) to.inc({ kind, ready: String(isReady), reason });
    });
    gauge(
      'weir_operator_objects_omitted',
      'Objects without series of their own in weir_operator_object_limiters.',
      [],
      (to) => {
        to.set(Math.max(0, this.#objects.size - MOST_NAMED_OBJECTS));
      },
    );
    gauge(
      'weir_operator_object_limiters',
      `Limiters of an object (<kind>/<namespace>/<name>) that should have its config (desired), and that acknowledged it (synced); of at most ${MOST_NAMED_OBJECTS} objects.`,
      ['object', 'state'],
      (to) => {
        for (const [object, { desired, synced }] of this.#named()) {
          to.set({ object, state: 'desired' }, desired);
          to.set({ object, state: 'synced' }, synced);
        }
      },
    );
  }

  #registerPods(gauge: MakeGauge): void {
    gauge('weir_operator_unlimited_pods', 'Pods that objects select and that carry no limiter.', [], (to) => {
      to.set(this.#unlimited().size);
    });
    gauge('weir_operator_skipped_pods', 'The same pods, by why they carry no limiter.', ['reason'], (to) => {
      for (const reason of this.#unlimited().values()) to.inc({ reason });
    });
    gauge('weir_operator_bypassed_pods', 'Pods with a limiter that all known traffic bypasses.', [], (to) => {
      to.set(new Set([...this.#objects.values()].flatMap(({ bypassed }) => bypassed)).size);
    });
  }

  /** What the last look at an object found. */
  set(object: string, { conditions, limiters }: ObjectStatus, { unlimited, bypassedPods }: LimiterTally): void {
    const ref = parseResourceName(object);
    const ready = conditions.find(({ type }) => type === 'Ready');
    if (ref === undefined || ready === undefined) return;
    const { kind, namespace } = ref;
    const { desired, synced } = limiters;
    this.#objects.set(object, {
      kind,
      isReady: ready.status === 'True',
      reason: ready.reason,
      desired,
      synced,
      unlimited: new Map(unlimited.map(({ pod, reason }) => [`${namespace}/${pod}`, reason])),
      bypassed: bypassedPods.map((pod) => `${namespace}/${pod}`),
    });
  }

  /** The object is gone. */
  delete(object: string): void {
    this.#objects.delete(object);
  }

  #named(): [string, ObjectHealth][] {
    return [...this.#objects].slice(0, MOST_NAMED_OBJECTS);
  }

  /** A pod that several objects select counts once. */
  #unlimited(): Map<string, string> {
    return new Map([...this.#objects.values()].flatMap(({ unlimited }) => [...unlimited]));
  }
}
