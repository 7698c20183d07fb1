// Controller: what people see in `kubectl describe`. Input: conditions whose reason changed. Output: Events
// (events.k8s.io/v1), one after the other; how each ended is counted, none is retried.
import { hostname } from 'node:os';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { Kube } from '../kube/kube-api.ts';
import { RESOURCES, type KubeEvent, type StoredObject } from '../kube/kube-types.ts';

/** The least of what an Event tells. */
export interface Occurrence {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** How the telling of an Event ended. dropped: too many waited. */
export type EventResult = 'written' | 'failed' | 'dropped';

/** Longest note that the API server takes, in characters. */
const MAX_NOTE = 1024;
/** Events that may wait; further ones are dropped: the status tells the same. */
const MAX_WAITING = 2000;
const CONTROLLER = 'weir.dev/operator';

export class EventRecorder {
  readonly #kube: Pick<Kube, 'create'>;
  readonly #log: Logger;
  readonly #onEvent: (result: EventResult) => void;
  readonly #waiting: KubeEvent[] = [];
  #isWriting = false;
  #sequence = 0;

  constructor(kube: Pick<Kube, 'create'>, log: Logger, onEvent: (result: EventResult) => void = () => undefined) {
    this.#kube = kube;
    this.#log = log;
    this.#onEvent = onEvent;
  }

  /** Events that wait, or are being written. */
  get depth(): number {
    return this.#waiting.length + (this.#isWriting ? 1 : 0);
  }

  /** `Ready` repeats what the other conditions say, so it gets none. */
  tell(object: StoredObject, occurrence: Occurrence): void {
    if (occurrence.type === 'Ready') return;
    if (this.#waiting.length >= MAX_WAITING) {
      this.#log.debug('event dropped', { reason: occurrence.reason });
      this.#onEvent('dropped');
      return;
    }
    this.#sequence += 1;
    this.#waiting.push(eventOf(object, occurrence, this.#sequence));
    if (!this.#isWriting) void this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    for (let event = this.#waiting.shift(); event !== undefined; event = this.#waiting.shift()) {
      try {
        await this.#kube.create(RESOURCES.events, event.metadata.namespace ?? '', event);
        this.#onEvent('written');
      } catch (error) {
        this.#onEvent('failed');
        this.#log.debug('event not written', { reason: event.reason, error: messageOf(error) });
      }
    }
    this.#isWriting = false;
  }
}

function eventOf(object: StoredObject, { type, status, reason, message }: Occurrence, sequence: number): KubeEvent {
  const { name, namespace, uid } = object.metadata;
  const isGood = (status === 'True') === (type !== 'Degraded');
  const unique = `${Date.now().toString(16)}${(sequence % 0x10000).toString(16).padStart(4, '0')}`;
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: `${name.slice(0, 200)}.${unique}`, namespace },
    eventTime: new Date().toISOString().replace('Z', '000Z'),
    reportingController: CONTROLLER,
    reportingInstance: `${hostname().slice(0, 100)}-${process.pid}`,
    action: type,
    reason,
    note: message.length > MAX_NOTE ? `${message.slice(0, MAX_NOTE - 1)}…` : message,
    type: isGood ? 'Normal' : 'Warning',
    regarding: {
      apiVersion: 'weir.dev/v1alpha1',
      kind: object.kind,
      namespace,
      name,
      ...(uid === undefined ? {} : { uid }),
    },
  };
}
