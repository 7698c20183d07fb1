// Controller: the sidecar injection of one operator, whole. Input: settings, the API server, certificates. Output:
// the webhook's port, open on every replica from its first certificate until it stops.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import type { ContainerRange } from '../../reconcile/injection/resources.ts';
import { isExcluded, type InjectorSettings } from '../../reconcile/injection/inject.ts';
import type { CertificateSource, EnsureCaConfigMap } from '../certificates/certificate-source.ts';
import { InjectionConfigFile } from './injection-config-file.ts';
import { InjectionWebhook, type AdmissionObserver } from './injection-webhook.ts';
import type { Kube } from '../kube/kube-api.ts';
import { RESOURCES, type LimitRange, type ObjectMeta } from '../kube/kube-types.ts';
import { WebhookServer } from './webhook-server.ts';

export interface WebhookSettings extends Pick<InjectorSettings, 'version' | 'ownNamespace' | 'caConfigMap'> {
  readonly listen: { readonly host: string; readonly port: number };
  /** YAML file, followed. */
  readonly configFile: string;
  /** How long it keeps answering after it is stopped, ms; default 0. */
  readonly lingerMs?: number;
}

export interface WebhookParts {
  readonly kube: Kube;
  /** Namespaces that the operator watches; empty: all. */
  readonly namespaces: readonly string[];
  readonly certificates: CertificateSource;
  readonly ensureCaConfigMap: EnsureCaConfigMap;
  readonly observer: AdmissionObserver;
  readonly log: Logger;
}

/** Creating a pod waits for this: a slow API server is not waited for longer. */
const ANSWER_MS = 1_500;

export class OperatorWebhook {
  port = 0;
  readonly #settings: WebhookSettings;
  readonly #config: InjectionConfigFile;
  readonly #server: WebhookServer;

  constructor(settings: WebhookSettings, parts: WebhookParts) {
    const { kube, namespaces: watchedNamespaces, certificates, log } = parts;
    const { version, ownNamespace, caConfigMap, configFile } = settings;
    this.#settings = settings;
    this.#config = new InjectionConfigFile(configFile, log);
    const webhook = new InjectionWebhook({
      ...parts,
      config: () => this.#config.current(),
      own: { version, caConfigMap, watchedNamespaces, ...(ownNamespace === undefined ? {} : { ownNamespace }) },
      namespaceOf: (namespace) => namespaceOf(kube, namespace),
      rangesOf: (namespace) => rangesOf(kube, namespace),
    });
    this.#server = new WebhookServer({ certificates, answer: (text) => webhook.answer(text), log });
  }

  /** Whether the config file holds something that cannot be used. */
  get isFaulty(): boolean {
    return this.#config.isFaulty;
  }

  isExcluded(namespace: string): boolean {
    const { ownNamespace } = this.#settings;
    const { excludedNamespaces } = this.#config.current();
    return isExcluded(namespace, { excludedNamespaces, ...(ownNamespace === undefined ? {} : { ownNamespace }) });
  }

  /** @throws InjectionConfigError, or the error of a port that cannot be bound */
  async start(): Promise<void> {
    await this.#config.start();
    this.port = await this.#server.listen(this.#settings.listen);
  }

  async stop(): Promise<void> {
    if (this.port !== 0) await delay(this.#settings.lingerMs ?? 0);
    this.#config.stop();
    await this.#server.close();
  }
}

/** One that is gone meanwhile asks for nothing. */
async function namespaceOf(kube: Kube, name: string): Promise<Pick<ObjectMeta, 'labels' | 'annotations'>> {
  const fieldSelector = `metadata.name=${name}`;
  const { items } = await kube.list(RESOURCES.namespaces, { fieldSelector, signal: AbortSignal.timeout(ANSWER_MS) });
  return items[0]?.metadata ?? {};
}

async function rangesOf(kube: Kube, namespace: string): Promise<ContainerRange[]> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const { items } = await kube.list<LimitRange>(RESOURCES.limitRanges, { namespace, signal });
  return items.flatMap(({ metadata: { name }, spec }) =>
    (spec?.limits ?? []).filter(({ type }) => type === 'Container').map((range) => ({ ...range, name })),
  );
}
