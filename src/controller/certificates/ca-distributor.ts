// Controller: the CA on its way to those who must trust it. Input: the bundle, the namespaces with limiters, the
// webhook configuration, the lease. Output: a ConfigMap in each such namespace and the caBundle of each webhook, kept
// as they must be.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { CertificateSource } from './certificate-source.ts';
import { withoutManagers } from './certificate-secret.ts';
import { Informer } from '../kube/informer.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { RESOURCES, type ConfigMap, type KubeObject, type Pod, type WebhookConfiguration } from '../kube/kube-types.ts';
import type { Leadership } from '../election/leadership.ts';
import type { Feed } from '../kube/object-feed.ts';
import { PART_OF_WEIR } from '../kube/own-labels.ts';
import { isInjected } from '../world/pod-index.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

export interface CaDistributorSettings {
  readonly kube: Kube;
  /** The same, but it writes only while the lease is held. */
  readonly leaderKube: Kube;
  readonly source: CertificateSource;
  /** Name of the ConfigMap. */
  readonly configMap: string;
  readonly ownNamespace: string;
  /** Where there may be limiters; empty = everywhere. */
  readonly namespaces: readonly string[];
  /** Not yet started. */
  readonly pods: Feed<Pod>;
  /** Name; undefined: there is no webhook. */
  readonly webhookConfiguration?: string | undefined;
  readonly leadership: Leadership;
  readonly log: Logger;
  /** Called when something was brought where it must be. */
  readonly onProgress: () => void;
}

export const CA_KEY = 'ca.crt';
const INJECT_LABEL = 'weir.dev/inject=true';
/** No namespace has such a name. */
const WEBHOOK = '/webhook';
const WEBHOOK_TYPE = { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'MutatingWebhookConfiguration' };
/**
 * A namespace that is listed but not there is looked for again after so long: none but the listed ones can be
 * watched.
 */
const ABSENT_AGAIN_MS = 5_000;
/** The longest that the admission of a pod waits for its ConfigMap. */
const ENSURE_MS = 2_000;

export class CaDistributor {
  readonly #settings: CaDistributorSettings;
  readonly #configMaps: Informer<ConfigMap>;
  readonly #labelled: Informer<KubeObject> | undefined;
  readonly #webhooks: Informer<WebhookConfiguration> | undefined;
  readonly #queue: WorkQueue;
  /** By namespace, the keys of its injected pods. */
  readonly #injected = new Map<string, Set<string>>();
  /** Listed namespaces that are not there: nobody there waits for the CA. */
  readonly #absent = new Set<string>();
  #unsubscribe: () => void = () => undefined;

  constructor(settings: CaDistributorSettings) {
    this.#settings = settings;
    const { kube, log, namespaces, ownNamespace, configMap, webhookConfiguration, pods, leadership } = settings;
    const scopes = namespaces.length === 0 ? [] : [...new Set([ownNamespace, ...namespaces])];
    const named = (name: string): string => `metadata.name=${name}`;
    const common = { kube, log, trim: withoutManagers };
    this.#configMaps = new Informer<ConfigMap>({
      ...common,
      type: RESOURCES.configMaps,
      namespaces: scopes,
      fieldSelector: named(configMap),
    });
    if (namespaces.length === 0) {
      this.#labelled = new Informer<KubeObject>({
        ...common,
        type: RESOURCES.namespaces,
        namespaces: [],
        labelSelector: INJECT_LABEL,
      });
    }
    if (webhookConfiguration !== undefined) {
      this.#webhooks = new Informer<WebhookConfiguration>({
        ...common,
        type: RESOURCES.webhookConfigurations,
        namespaces: [],
        fieldSelector: named(webhookConfiguration),
      });
    }
    this.#queue = new WorkQueue({ name: 'ca', workers: 4, log, work: (key) => this.#work(key) });
    this.#configMaps.onChange(({ key }) => {
      this.#queue.add(key.replace(/\/.*$/, ''));
    });
    this.#labelled?.onChange(({ key }) => {
      this.#queue.add(key);
    });
    this.#webhooks?.onChange(() => {
      this.#queue.add(WEBHOOK);
    });
    pods.onChange(({ key, after }) => {
      this.#notePod(key, after);
    });
    leadership.onChange(() => {
      this.#lookAtAll();
    });
  }

  /** To be called when the source has a certificate. Resolves when it is known who holds which bundle. */
  async start(): Promise<void> {
    const informers = this.#informers();
    for (const informer of informers) informer.start();
    await Promise.all(informers.map((informer) => informer.whenSynced()));
    this.#unsubscribe = this.#settings.source.onChange(() => {
      this.#lookAtAll();
    });
    this.#queue.start();
    this.#lookAtAll();
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    await this.#queue.stop();
    await Promise.all(this.#informers().map((informer) => informer.stop()));
  }

  /**
   * Namespaces and webhook configurations that do not hold exactly the present bundle; 0 before the start: nothing is
   * known.
   */
  undistributed(): number {
    const bundle = this.#bundle();
    if (bundle === '') return 0;
    const lacks = (namespace: string): boolean => !this.#absent.has(namespace) && this.#bundleIn(namespace) !== bundle;
    const lacking = [...this.#wanted()].filter(lacks).length;
    return lacking + (this.#isWebhookRight(bundle) ? 0 : 1);
  }

  /** Whether everyone is handed the present bundle. */
  isDistributed(): boolean {
    return this.#informers().every(({ hasSynced }) => hasSynced) && this.undistributed() === 0;
  }

  /**
   * Makes the ConfigMap when there is none, on any replica: a pod that is admitted now mounts it in a moment. Never
   * rejects.
   */
  async ensure(namespace: string): Promise<void> {
    if (this.#bundleIn(namespace) !== undefined || this.#bundle() === '') return;
    const made = this.#create(this.#settings.kube, namespace, this.#bundle()).catch((error: unknown) => {
      this.#settings.log.warn('CA not distributed', { namespace, error: messageOf(error) });
    });
    await Promise.race([made, delay(ENSURE_MS, undefined, { ref: false })]);
  }

  #informers(): (Informer<ConfigMap> | Informer<KubeObject> | Informer<WebhookConfiguration>)[] {
    return [this.#configMaps, this.#labelled, this.#webhooks].filter((informer) => informer !== undefined);
  }

  #notePod(key: string, after: Pod | undefined): void {
    const namespace = key.replace(/\/.*$/, '');
    const pods = this.#injected.get(namespace) ?? new Set<string>();
    if (after !== undefined && isInjected(after)) pods.add(key);
    else pods.delete(key);
    if (pods.size === 0) {
      this.#injected.delete(namespace);
      return;
    }
    this.#injected.set(namespace, pods);
    if (pods.size === 1) this.#queue.add(namespace);
  }

  #bundle(): string {
    return this.#settings.source.current().caBundle;
  }

  #bundleIn(namespace: string): string | undefined {
    return this.#configMaps.get(`${namespace}/${this.#settings.configMap}`)?.data?.[CA_KEY];
  }

  /** Where the ConfigMap must be. */
  #wanted(): Set<string> {
    const { ownNamespace, namespaces } = this.#settings;
    const labelled = [...(this.#labelled?.values() ?? [])]
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata.name);
    return new Set([ownNamespace, ...namespaces, ...labelled, ...this.#injected.keys()]);
  }

  #lookAtAll(): void {
    const holding = [...this.#configMaps.values()].map(({ metadata }) => metadata.namespace ?? '');
    for (const namespace of new Set([...this.#wanted(), ...holding])) this.#queue.add(namespace);
    this.#queue.add(WEBHOOK);
  }

  async #work(key: string): Promise<WorkOutcome> {
    const bundle = this.#bundle();
    const { leadership, onProgress } = this.#settings;
    if (bundle !== '' && leadership.isLeader()) {
      if (key === WEBHOOK) await this.#mendWebhook(bundle);
      else await this.#mendConfigMap(key, bundle);
    }
    onProgress();
    return this.#absent.has(key) ? { kind: 'again', afterMs: ABSENT_AGAIN_MS } : DONE;
  }

  async #mendConfigMap(namespace: string, bundle: string): Promise<void> {
    const held = this.#configMaps.get(`${namespace}/${this.#settings.configMap}`);
    if (held === undefined) {
      if (this.#wanted().has(namespace)) await this.#create(this.#settings.leaderKube, namespace, bundle);
      return;
    }
    this.#absent.delete(namespace);
    if (held.data?.[CA_KEY] === bundle) return;
    const { metadata } = held;
    await this.#replace(this.#configMaps, RESOURCES.configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { ...metadata, labels: { ...metadata.labels, ...PART_OF_WEIR } },
      data: { [CA_KEY]: bundle },
    });
  }

  async #create(kube: Kube, namespace: string, bundle: string): Promise<void> {
    const { configMap, log } = this.#settings;
    try {
      const body: ConfigMap = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: configMap, namespace, labels: PART_OF_WEIR },
        data: { [CA_KEY]: bundle },
      };
      this.#configMaps.accept(await kube.create(RESOURCES.configMaps, namespace, body));
      this.#absent.delete(namespace);
      log.info('CA distributed', { namespace, configMap });
    } catch (error) {
      // Another replica was first, or the namespace is gone.
      if (!hasStatus(error, 404, 409)) throw error;
      if (hasStatus(error, 409)) this.#absent.delete(namespace);
      else this.#noteAbsent(namespace);
    }
  }

  #noteAbsent(namespace: string): void {
    const { namespaces, ownNamespace, log } = this.#settings;
    if (this.#absent.has(namespace) || ![ownNamespace, ...namespaces].includes(namespace)) return;
    this.#absent.add(namespace);
    log.warn('namespace does not exist', { namespace, fix: 'create it, or remove it from --namespace' });
  }

  async #mendWebhook(bundle: string): Promise<void> {
    const [held] = this.#webhooks?.values() ?? [];
    if (held === undefined || this.#isWebhookRight(bundle) || this.#webhooks === undefined) return;
    const caBundle = encoded(bundle);
    const webhooks = (held.webhooks ?? []).map((webhook) => ({
      ...webhook,
      clientConfig: { ...webhook.clientConfig, caBundle },
    }));
    await this.#replace(this.#webhooks, RESOURCES.webhookConfigurations, { ...WEBHOOK_TYPE, ...held, webhooks });
    this.#settings.log.info('CA of the webhook set', { webhookConfiguration: held.metadata.name });
  }

  #isWebhookRight(bundle: string): boolean {
    const caBundle = encoded(bundle);
    return [...(this.#webhooks?.values() ?? [])]
      .flatMap(({ webhooks = [] }) => webhooks)
      .every(({ clientConfig }) => clientConfig.caBundle === caBundle);
  }

  /** A write that lost against another one is decided again when the watch brings the other one. */
  async #replace<T extends KubeObject>(
    informer: Informer<T>,
    type: (typeof RESOURCES)[keyof typeof RESOURCES],
    body: T,
  ): Promise<void> {
    try {
      informer.accept(await this.#settings.leaderKube.replace(type, body));
    } catch (error) {
      if (!hasStatus(error, 404, 409)) throw error;
    }
  }
}

function encoded(bundle: string): string {
  return Buffer.from(bundle).toString('base64');
}
