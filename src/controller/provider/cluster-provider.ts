// Controller: a cluster as the source of objects. Input: the Kubernetes API. Output: informers of what the operator
// reads, last good forms in ControllerRevisions, statuses and Events written, limiters authenticated by TokenReview.
import type { ObjectKind } from '../../contract/limiter-config.ts';
import { byKind, KINDS, kindOf } from '../../crd/kinds/kinds.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { INJECT_LABEL } from '../../reconcile/injection/names.ts';
import type { ObjectStatus } from '../../reconcile/types.ts';
import { createTokenAuthenticator, type Authenticator, type ReviewApi } from '../push/authenticator.ts';
import { EventRecorder, type EventResult, type Occurrence } from './event-recorder.ts';
import { Informer, type InformerSettings } from '../kube/informer.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import {
  pickMeta,
  RESOURCES,
  statusBody,
  type ControllerRevision,
  type CoreEvent,
  type EndpointSlice,
  type KubeObject,
  type Pod,
  type ResourceType,
  type Service,
  type StoredObject,
} from '../kube/kube-types.ts';
import { ClusterLastGood, LAST_GOOD_LABEL } from './last-good.ts';
import type { Leadership } from '../election/leadership.ts';
import { trimService } from '../world/object-references.ts';
import { podView } from '../world/pod-index.ts';
import { FAILED_CREATE, trimEvent } from '../world/creation-failures.ts';
import { trimPod } from '../world/pod-facts.ts';
import { trimEndpointSlice, WRITTEN_BY_OTHERS } from '../world/endpoint-index.ts';
import { objectsOf, type Provider, type StatusSink, type WriteResult } from './provider.ts';
import { SecretWatcher } from '../credentials/secret-watcher.ts';
import type { PodView } from '../push/visibility.ts';

type AnyInformer = Pick<Informer<KubeObject>, 'start' | 'stop' | 'whenSynced' | 'refresh' | 'hasSynced' | 'trouble'> &
  Pick<Informer<KubeObject>, 'stats' | 'size' | 'handlerErrors'>;

export interface ClusterSettings {
  readonly kube: Kube;
  /** By which statuses, Events and last good forms are written; default: `kube`. */
  readonly writes?: Kube;
  /** Empty = all. */
  readonly namespaces: readonly string[];
  readonly leadership: Leadership;
  readonly log: Logger;
  /** Called with how the telling of each Event ended, for metrics. */
  readonly onEvent?: (result: EventResult) => void;
}

export class ClusterProvider implements Provider, StatusSink {
  readonly objects: Readonly<Record<ObjectKind, Informer<StoredObject>>>;
  readonly services: Informer<Service>;
  readonly pods: Informer<Pod>;
  readonly kube: Kube;
  readonly creationEvents: Informer<CoreEvent>;
  readonly namespaces: Informer<KubeObject>;
  readonly endpointSlices: Informer<EndpointSlice>;
  readonly secrets: SecretWatcher;
  readonly lastGood: ClusterLastGood;
  readonly statusSink: StatusSink = this;
  readonly authenticate: Authenticator;
  readonly #settings: ClusterSettings;
  readonly #revisions: Informer<ControllerRevision>;
  readonly #events: EventRecorder;
  #isLoaded = false;

  constructor(settings: ClusterSettings) {
    const { kube, writes = kube, log } = settings;
    this.#settings = settings;
    this.kube = kube;
    this.objects = byKind((kind) => this.#inform(kind, (object: StoredObject) => trimObject(kind.kind, object)));
    this.services = this.#inform(RESOURCES.services, trimService);
    this.pods = this.#inform(RESOURCES.pods, trimPod);
    this.creationEvents = this.#inform(RESOURCES.coreEvents, trimEvent, {
      fieldSelector: FAILED_CREATE,
      onFailure: this.#logOnce('events'),
    });
    this.namespaces = this.#inform(RESOURCES.namespaces, trimNamespace, {
      namespaces: [],
      onFailure: this.#logOnce('namespaces'),
    });
    this.endpointSlices = this.#inform(RESOURCES.endpointSlices, trimEndpointSlice, {
      labelSelector: WRITTEN_BY_OTHERS,
      onFailure: this.#logOnce('endpointslices'),
    });
    this.secrets = new SecretWatcher({ kube, log });
    this.#revisions = this.#inform(RESOURCES.controllerRevisions, trimRevision, {
      labelSelector: LAST_GOOD_LABEL,
    });
    this.lastGood = new ClusterLastGood({ ...settings, kube: writes, revisions: this.#revisions });
    this.#events = new EventRecorder(writes, log, settings.onEvent);
    const reviews: ReviewApi = {
      watched: settings.namespaces,
      reviewToken: (token, audiences) => kube.reviewToken(token, audiences),
      reviewAccess: (question) => kube.reviewAccess(question),
      findPod: (namespace, name) => this.#findPod(namespace, name),
    };
    this.authenticate = createTokenAuthenticator(reviews, log);
  }

  start(): void {
    for (const informer of Object.values(this.#allInformers())) informer.start();
  }

  async whenReady(): Promise<void> {
    await Promise.all(Object.values(this.#informers()).map((informer) => informer.whenSynced()));
    this.lastGood.load(objectsOf(this));
    this.#isLoaded = true;
  }

  /** Reads everything again, last good forms too; resolves when what is known is as new as this call. */
  async refresh(): Promise<void> {
    await Promise.all(Object.values(this.#informers()).map((informer) => informer.refresh()));
    this.lastGood.load(objectsOf(this));
  }

  isReady(): boolean {
    return this.#isLoaded;
  }

  waitsFor(): string[] {
    return Object.entries(this.#informers())
      .filter(([, { hasSynced }]) => !hasSynced)
      .map(([name, { trouble }]) => (trouble === undefined ? name : `${name} (${trouble})`));
  }

  stats(): ReturnType<Provider['stats']> {
    const entries = Object.entries(this.#allInformers());
    const feeds = entries.map(([name, { stats, size, handlerErrors }]) => [
      name,
      { failures: stats.failures, handlerErrors, size },
    ]);
    return { ...(Object.fromEntries(feeds) as ReturnType<Provider['stats']>), secrets: this.secrets.stats() };
  }

  depths(): Record<string, number> {
    return { events: this.#events.depth, 'last-good': this.lastGood.depth };
  }

  async stop(): Promise<void> {
    await this.lastGood.stop();
    await this.secrets.stop();
    await Promise.all(Object.values(this.#allInformers()).map((informer) => informer.stop()));
  }

  async write(object: StoredObject, status: ObjectStatus): Promise<WriteResult> {
    const { kube, writes = kube } = this.#settings;
    const informer = this.objects[object.kind];
    const type = kindOf(object.kind);
    const { name, namespace } = object.metadata;
    const body = statusBody(object, status);
    try {
      informer.observe(await writes.replaceStatus(type, body));
      return 'written';
    } catch (error) {
      if (hasStatus(error, 404)) return 'gone';
      if (!hasStatus(error, 409)) throw error;
    }
    try {
      informer.accept(await kube.get<StoredObject>(type, namespace, name));
      return 'outdated';
    } catch (error) {
      if (hasStatus(error, 404)) return 'gone';
      throw error;
    }
  }

  tell(object: StoredObject, condition: Occurrence): void {
    this.#events.tell(object, condition);
  }

  /** Beside those that must be known: what makes statuses say more, where the operator has the right to it. */
  #allInformers(): Record<string, AnyInformer> {
    return {
      ...this.#informers(),
      namespaces: this.namespaces,
      endpointslices: this.endpointSlices,
      events: this.creationEvents,
    };
  }

  #informers(): Record<string, AnyInformer> {
    return {
      ...Object.fromEntries(KINDS.map(({ kind, plural }) => [plural, this.objects[kind]])),
      services: this.services,
      pods: this.pods,
      controllerrevisions: this.#revisions,
    };
  }

  #inform<T extends KubeObject>(
    type: ResourceType,
    trim: (object: T) => T,
    more: Partial<InformerSettings<T>> = {},
  ): Informer<T> {
    const { kube, namespaces, log } = this.#settings;
    return new Informer({ kube, type, namespaces, trim, share: shareSpec, log, ...more });
  }

  /** A missing right is logged once, not at each retry. */
  #logOnce(type: string): (error: unknown) => void {
    let logged = '';
    return (error) => {
      const message = messageOf(error);
      if (message !== logged)
        this.#settings.log.warn('cannot watch: statuses have less detail', { type, error: message });
      logged = message;
    };
  }

  /** A pod that was made a moment ago may not have reached the informer yet. */
  async #findPod(namespace: string, name: string): Promise<PodView | undefined> {
    const known = this.pods.get(`${namespace}/${name}`);
    if (known !== undefined) return podView(known);
    try {
      return podView(await this.#settings.kube.get<Pod>(RESOURCES.pods, namespace, name));
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }
}

/** Of its labels the one that asks for limiters. */
function trimNamespace({ metadata }: KubeObject): KubeObject {
  const label = metadata.labels?.[INJECT_LABEL];
  const labels = label === undefined ? {} : { labels: { [INJECT_LABEL]: label } };
  return { metadata: { ...pickMeta(metadata, 'uid', 'resourceVersion'), ...labels } };
}

/** Neither who manages which field is read, nor an annotation that may hold the whole manifest once more. */
function trimObject(kind: StoredObject['kind'], { metadata, ...rest }: StoredObject): StoredObject {
  const { namespace } = metadata;
  const read = pickMeta(
    metadata,
    'uid',
    'resourceVersion',
    'generation',
    'creationTimestamp',
    'deletionTimestamp',
    'labels',
  );
  return { ...rest, metadata: { ...read, namespace }, kind };
}

/**
 * A spec is the same as long as its generation: kept once, and what was made of it stays known. A status is
 * written far more often than a spec.
 */
function shareSpec<T extends KubeObject>(object: T, held: T): T {
  if (!('spec' in object) || !('spec' in held)) return object;
  const [now, before] = [object.metadata, held.metadata];
  const isSame = now.uid === before.uid && now.generation !== undefined && now.generation === before.generation;
  return isSame ? { ...object, spec: held.spec } : object;
}

/** The form itself as a text, which is a fraction of its tree: it is read once, at the start. */
function trimRevision({ metadata, data, ...rest }: ControllerRevision): ControllerRevision {
  const kept = pickMeta(metadata, 'namespace', 'uid', 'resourceVersion', 'ownerReferences');
  return { ...rest, metadata: kept, data: JSON.stringify(data) };
}
