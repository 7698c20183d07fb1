// Controller: the loop that makes it so. Input: feeds of objects, Services and pods, the answers of limiters. Output:
// the snapshot store, the last good forms and the statuses, brought up to date one object at a time.
import { parseResourceName, resourceName, sharersNameOf } from '../../contract/limiter-config.ts';
import { storeIdOf } from '../../contract/limiter-report.ts';
import { canonicalJson } from '../../contract/snapshot.ts';
import type { Logger } from '../../lib/log.ts';
import type { InjectionScope } from '../../reconcile/injection/unlimited.ts';
import { ObjectTable } from '../../reconcile/object-table.ts';
import type { LastGood, ReconcileOutcome, ReconcileSettings, World } from '../../reconcile/types.ts';
import type { Parting } from '../install/parting.ts';
import type { AckTable, ReportChange } from '../push/ack-table.ts';
import type { Change } from '../kube/object-feed.ts';
import type { ObjectIdentity, Service, StoredObject } from '../kube/kube-types.ts';
import type { Leadership } from '../election/leadership.ts';
import { tallyLimiters } from './limiter-tally.ts';
import { secretsOf, selectorPair, servicesOf, serviceFacts } from '../world/object-references.ts';
import type { OperatorMetrics } from '../operator-metrics.ts';
import { objectsOf, type Provider, type SecretReader } from '../provider/provider.ts';
import { ReverseIndex } from '../kube/reverse-index.ts';
import { Surroundings } from '../world/surroundings.ts';
import { publishSidecars } from '../push/sharers.ts';
import type { SnapshotStore } from '../push/snapshot-store.ts';
import { countSidecars } from './sidecar-count.ts';
import { EventReporter } from './event-reporter.ts';
import { StatusWriter } from './status-writer.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

export interface OperatorParts {
  readonly provider: Provider;
  /** Those of the provider, and those of the default Redis. */
  readonly secrets: SecretReader;
  readonly store: SnapshotStore;
  readonly acks: AckTable;
  readonly leadership: Leadership;
  readonly metrics: OperatorMetrics;
  readonly reconcileSettings: ReconcileSettings;
  readonly log: Logger;
  /** Absent: this operator is not uninstalled. */
  readonly parting?: Parting;
  /** What is injected here; absent: nothing. */
  readonly injector?: Pick<InjectionScope, 'isExcluded'> | undefined;
  /** How long what a rollout passes through must persist before it becomes an Event, ms. */
  readonly eventPersistsMs?: number | undefined;
  /** Until then (monotonic ms) a status that only says "limiters are missing" is not written. */
  readonly quietUntilMs?: () => number;
}

/** Answers of limiters come in groups: what they change is looked at once, after this long. */
const ANSWERS_MS = 50;
/** An object whose limiters answer one after the other is looked at again at most this often, ms. */
const ANSWERS_INTERVAL_MS = 1000;
/**
 * While many objects wait for their time, as when a thousand limiters connect, less often: five hundred objects a
 * second, a fifth of a core.
 */
const ANSWERS_PER_WAITING_MS = 2;

export class Operator {
  readonly #parts: OperatorParts;
  readonly #queue: WorkQueue;
  readonly #writer: StatusWriter;
  readonly #reporter: EventReporter;
  readonly #table: ObjectTable;
  readonly #surroundings: Surroundings;
  /** `<namespace>/<service>` -> objects that name it. */
  readonly #byService = new ReverseIndex();
  /** One label of each selector -> objects. */
  readonly #bySelector = new ReverseIndex();
  /** Id of a store -> objects whose buckets live there. */
  readonly #byStore = new ReverseIndex();
  readonly #world: World;
  /** When the answers of limiters last made an object be looked at, monotonic ms. */
  readonly #answeredAt = new Map<string, number>();
  readonly #ends: (() => void)[] = [];

  /** Registers its handlers with the feeds: to be made before they are started. */
  constructor(parts: OperatorParts) {
    this.#parts = parts;
    const { provider, leadership, metrics, log, reconcileSettings } = parts;
    this.#table = new ObjectTable(reconcileSettings);
    this.#surroundings = new Surroundings({
      provider,
      injector: parts.injector,
      log,
      onChange: (pairs) => {
        this.#answersChanged(this.#bySelector.namesOfAny(pairs));
      },
      onNamespace: (namespace) => {
        this.#answersChanged(this.#objectsIn(namespace));
      },
    });
    this.#world = this.#makeWorld();
    this.#reporter = new EventReporter({
      report: (object, condition) => {
        provider.statusSink.tell(object, condition);
      },
      find: (name) => this.#find(name),
      ...(parts.eventPersistsMs === undefined ? {} : { persistsMs: parts.eventPersistsMs }),
    });
    this.#writer = new StatusWriter({
      sink: provider.statusSink,
      leadership,
      log,
      onOutdated: (name) => {
        this.#queue.add(name);
      },
      mayWrite: (object) => parts.parting?.isParting !== true && provider.lastGood.isKept(object),
      onWrite: (result) => {
        metrics.statusWritten(result);
      },
      onChanged: (name, object, changed) => {
        this.#reporter.note(name, object, changed);
      },
      ...(parts.quietUntilMs === undefined ? {} : { quietUntilMs: parts.quietUntilMs }),
    });
    this.#queue = new WorkQueue({
      name: 'reconcile',
      workers: 2,
      log,
      work: (name) => this.#reconcile(name),
      onWorked: ({ ok, seconds }) => {
        metrics.reconciled(ok, seconds);
      },
    });
    this.#listen();
  }

  /** Compiles every object there is and resolves when all are in the store; from then on follows every change. */
  async start(): Promise<void> {
    this.#queue.start();
    await this.recompile();
    this.#writer.start();
    this.#surroundings.start();
  }

  /** Looks at every object again and resolves when that is in the store. */
  async recompile(): Promise<void> {
    for (const object of objectsOf(this.#parts.provider)) this.#learn(object);
    await this.#parts.secrets.whenKnown();
    this.#enqueueAll();
    await this.#queue.whenIdle();
  }

  async stop(): Promise<void> {
    for (const end of this.#ends) end();
    await this.#surroundings.stop();
    await this.#queue.stop();
    await this.#writer.stop();
    this.#reporter.stop();
  }

  depths(): Record<string, number> {
    return { reconcile: this.#queue.depth, status: this.#writer.depth };
  }

  #listen(): void {
    const { provider, secrets, acks, leadership } = this.#parts;
    for (const feed of Object.values(provider.objects)) {
      feed.onChange((change) => {
        this.#objectChanged(change);
      });
    }
    provider.services.onChange(({ key, before, after }) => {
      if (facesOf(before) !== facesOf(after)) this.#enqueue(this.#byService.namesOf(key));
    });
    secrets.onChange((names) => {
      this.#table.outdate(names);
      this.#enqueue(names);
    });
    this.#ends.push(
      acks.subscribe((names) => {
        this.#answersChanged(names);
      }),
    );
    this.#ends.push(
      acks.subscribeReports((change) => {
        this.#troubleChanged(change);
      }),
    );
    provider.lastGood.onKept((object) => {
      this.#writer.recheck(nameOf(object));
    });
    leadership.onChange((isLeader) => {
      if (isLeader) this.#enqueueAll();
    });
  }

  #objectChanged({ before, after }: Change<StoredObject>): void {
    const object = after ?? before;
    if (object === undefined) return;
    const name = nameOf(object);
    if (before !== undefined && after !== undefined && isSameWish(before, after)) {
      // Our own write, unless nobody here is writing: then someone else touched the status.
      if (!this.#writer.isWriting(name) && isOtherStatus(before, after)) this.#queue.add(name);
      return;
    }
    if (after === undefined) this.#parts.provider.lastGood.forget(object);
    else this.#learn(after);
    this.#queue.add(name);
  }

  /** Notes by which changes around it an object is concerned. */
  #learn(object: StoredObject): void {
    const name = nameOf(object);
    const lastGood = this.#parts.provider.lastGood.get(object.metadata.uid ?? '');
    const specs = [object.spec, lastGood?.spec];
    this.#table.put(object, lastGood);
    this.#byService.set(name, servicesOf(object.metadata.namespace, specs));
    this.#bySelector.set(name, selectorPair(object.metadata.namespace, specs));
    this.#parts.secrets.want(name, secretsOf(object.metadata.namespace, specs));
  }

  #troubleChanged({ view, stores, objects }: ReportChange): void {
    const { store } = this.#parts;
    const names = [...this.#byStore.namesOfAny(stores), ...objects].filter((name) => store.isSeenBy(view, name));
    this.#answersChanged(names);
  }

  #answersChanged(names: Iterable<string>): void {
    const nowMs = performance.now();
    const intervalMs = Math.max(ANSWERS_INTERVAL_MS, this.#queue.delayed * ANSWERS_PER_WAITING_MS);
    for (const name of names) {
      if (parseResourceName(name) === undefined) continue;
      const allowedMs = (this.#answeredAt.get(name) ?? -Infinity) + intervalMs;
      this.#queue.addAfter(name, Math.max(ANSWERS_MS, allowedMs - nowMs));
      if (allowedMs <= nowMs) this.#answeredAt.set(name, nowMs + ANSWERS_MS);
    }
  }

  #objectsIn(namespace: string): string[] {
    const objects = objectsOf(this.#parts.provider);
    return objects.filter(({ metadata }) => metadata.namespace === namespace).map(nameOf);
  }

  #enqueue(names: Iterable<string>): void {
    for (const name of names) this.#queue.add(name);
  }

  #enqueueAll(): void {
    for (const object of objectsOf(this.#parts.provider)) this.#queue.add(nameOf(object));
  }

  #find(name: string): StoredObject | undefined {
    const ref = parseResourceName(name);
    if (ref === undefined) return undefined;
    return this.#parts.provider.objects[ref.kind].get(`${ref.namespace}/${ref.name}`);
  }

  /** Reads the present state, never the event; a second call with nothing changed changes nothing. */
  #reconcile(name: string): WorkOutcome {
    const object = this.#find(name);
    if (object === undefined) {
      this.#remove(name);
      return DONE;
    }
    // A config without its credentials would cut off what works: what is heard of the Secret brings the object back
    // here.
    if (!this.#parts.secrets.isKnown(name)) return DONE;
    const reconciled = this.#table.reconcile(object, this.#world, new Date().toISOString());
    if (reconciled === undefined) return DONE;
    const { outcome, affected } = reconciled;
    this.#push(name, object, outcome);
    this.#keepLastGood(object, outcome);
    this.#parts.metrics.objects?.set(name, outcome.status, outcome.tally);
    this.#enqueue(affected);
    const { status, changedReasons } = outcome;
    if (outcome.statusChanged) this.#writer.submit(name, { object, status, changedReasons });
    else this.#writer.cancel(name);
    return DONE;
  }

  #push(name: string, object: StoredObject, { inForce }: ReconcileOutcome): void {
    const { store } = this.#parts;
    const storeId = inForce === undefined ? undefined : storeIdOf(inForce.config);
    this.#byStore.set(name, storeId === undefined ? [] : [storeId]);
    if (inForce === undefined) {
      store.remove(name);
      store.remove(sharersNameOf({ kind: object.kind, ...namesOf(object) }));
      return;
    }
    const { namespace } = object.metadata;
    const { workloadSelector } = inForce;
    const visibility = { namespace, ...(workloadSelector === undefined ? {} : { workloadSelector }) };
    const parts = { acks: this.#parts.acks, pods: this.#surroundings.pods };
    const sidecars =
      workloadSelector === undefined ? 0 : countSidecars(name, namespace, workloadSelector.matchLabels, parts);
    // First: who has the object must know with how many it shares the buckets.
    publishSidecars(store, { kind: object.kind, ...namesOf(object) }, sidecars, visibility);
    store.set(this.#parts.parting?.resourceOf(inForce) ?? inForce.resource, visibility);
  }

  #keepLastGood(object: StoredObject, { lastGood }: ReconcileOutcome): void {
    const kept = this.#parts.provider.lastGood.get(object.metadata.uid ?? '');
    if (lastGood === undefined || lastGood === kept || isSameForm(kept, lastGood)) return;
    this.#parts.provider.lastGood.save(object, lastGood);
    this.#learn(object);
  }

  #remove(name: string): void {
    const ref = parseResourceName(name);
    this.#parts.store.remove(name);
    if (ref !== undefined) this.#parts.store.remove(sharersNameOf(ref));
    this.#writer.forget(name);
    this.#reporter.forget(name);
    this.#parts.metrics.objects?.delete(name);
    this.#byService.set(name, []);
    this.#bySelector.set(name, []);
    this.#parts.secrets.forget(name);
    this.#byStore.set(name, []);
    this.#answeredAt.delete(name);
    if (ref !== undefined) this.#enqueue(this.#table.remove(ref));
  }

  #makeWorld(): World {
    const { provider, secrets, acks, reconcileSettings } = this.#parts;
    return {
      settings: reconcileSettings,
      serviceOf: (namespace, name) => {
        const service = provider.services.get(`${namespace}/${name}`);
        return service === undefined ? undefined : serviceFacts(service);
      },
      secretOf: (namespace, name) => secrets.factsOf(namespace, name),
      rivalsOf: (keys) => this.#table.rivalsOf(keys),
      limitersOf: (query) => tallyLimiters(query, acks, this.#surroundings),
    };
  }
}

function namesOf({ metadata }: ObjectIdentity): { namespace: string; name: string } {
  return { namespace: metadata.namespace, name: metadata.name };
}

function nameOf(object: ObjectIdentity): string {
  return resourceName({ kind: object.kind, ...namesOf(object) });
}

/** Only the status (or annotations) changed: nothing that a reconcile reads. */
function isSameWish(before: StoredObject, after: StoredObject): boolean {
  const wish = ({ metadata }: StoredObject): unknown[] => [
    metadata.uid,
    metadata.generation,
    metadata.deletionTimestamp,
    metadata.labels,
  ];
  return canonicalJson(wish(before)) === canonicalJson(wish(after));
}

function isSameForm(kept: LastGood | undefined, lastGood: LastGood): boolean {
  if (kept?.generation !== lastGood.generation) return false;
  return kept.spec === lastGood.spec || canonicalJson(kept.spec) === canonicalJson(lastGood.spec);
}

function isOtherStatus(before: StoredObject, after: StoredObject): boolean {
  return canonicalJson(before.status ?? {}) !== canonicalJson(after.status ?? {});
}

function facesOf(service: Service | undefined): string {
  return service === undefined ? '' : canonicalJson(serviceFacts(service));
}
