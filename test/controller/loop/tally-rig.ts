// Test rig: pods, Services, EndpointSlices and limiters of one object in memory, and the tally of them.
import { storeIdOf } from '../../../src/contract/limiter-report.ts';
import type { EndpointSlice, Pod, Service } from '../../../src/controller/kube/kube-types.ts';
import { ObjectFeed, type Change, type Feed } from '../../../src/controller/kube/object-feed.ts';
import { tallyLimiters } from '../../../src/controller/loop/limiter-tally.ts';
import { AckTable, type AckStream } from '../../../src/controller/push/ack-table.ts';
import { EndpointIndex } from '../../../src/controller/world/endpoint-index.ts';
import { trimPod } from '../../../src/controller/world/pod-facts.ts';
import { PodIndex, podView } from '../../../src/controller/world/pod-index.ts';
import { ServiceIndex } from '../../../src/controller/world/service-index.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { INJECTED_ANNOTATION } from '../../../src/reconcile/injection/names.ts';
import type { LimiterTally } from '../../../src/reconcile/types.ts';

export const NAME = 'ModelRoute/a/r';
export const STORE = storeIdOf({ namespace: 'a', store: { type: 'redis', redis: { address: 'redis:6379' } } })!;

/** Pods as a provider gives them. */
class Pods implements Feed<Pod> {
  readonly hasSynced = true;
  readonly #pods = new Map<string, Pod>();
  readonly #handlers: ((change: Change<Pod>) => void)[] = [];
  get size(): number {
    return this.#pods.size;
  }
  get(key: string): Pod | undefined {
    return this.#pods.get(key);
  }
  values(): IterableIterator<Pod> {
    return this.#pods.values();
  }
  onChange(handler: (change: Change<Pod>) => void): void {
    this.#handlers.push(handler);
  }
  put(pod: Pod): void {
    const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const before = this.#pods.get(key);
    const after = trimPod(pod);
    this.#pods.set(key, after);
    for (const handler of this.#handlers) handler({ key, before, after });
  }
}

/** The object a/r, which selects `app=web`, and what is around it. */
export class TallyRig {
  readonly pods = new Pods();
  readonly services = new ObjectFeed<Service>({ name: 'services', log: silentLogger() });
  readonly slices = new ObjectFeed<EndpointSlice>({ name: 'endpointslices', log: silentLogger() });
  readonly acks = new AckTable(() => [NAME]);
  /** Of the namespace; undefined: not known. */
  label: string | undefined = 'true';
  readonly #world = {
    pods: new PodIndex(this.pods),
    services: new ServiceIndex(this.services),
    endpoints: new EndpointIndex(this.slices),
    failures: { of: () => undefined },
    injection: {
      isOn: true,
      isExcluded: (namespace: string) => namespace === 'kube-system',
      labelOf: () => this.label,
    },
  };

  /** The limiter of a pod, which has acknowledged version v1. */
  connect(of: Pod): AckStream {
    const stream = this.acks.connect(of.metadata.uid!, { kind: 'pod', pod: podView(of) }, new Map());
    stream.acked(NAME, 'v1');
    return stream;
  }

  tally(): LimiterTally {
    const ref = { kind: 'ModelRoute', namespace: 'a', name: 'r' } as const;
    const workloadSelector = { matchLabels: { app: 'web' } };
    return tallyLimiters({ ref, workloadSelector, version: 'v1', store: STORE }, this.acks, this.#world);
  }
}

/** A pod of the object, with a limiter unless it says otherwise. */
export function pod(name: string, more: Partial<Pod> & { injected?: boolean; deleted?: boolean } = {}): Pod {
  const { injected = true, deleted = false, ...rest } = more;
  return {
    metadata: {
      namespace: 'a',
      name,
      uid: `uid-${name}`,
      labels: { app: 'web' },
      ...(injected ? { annotations: { [INJECTED_ANNOTATION]: '0.2.0' } } : {}),
      ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    status: { phase: 'Running' },
    ...rest,
  };
}
