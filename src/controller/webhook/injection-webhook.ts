// Controller: the injector at work. Input: reviews of pods, their namespace as it is now. Output: answers with a patch;
// the CA is in the namespace before the pod is; what was done is logged and counted.
import { randomBytes } from 'node:crypto';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import {
  inject,
  type Injection,
  type InjectorSettings,
  type NamespaceFacts,
} from '../../reconcile/injection/inject.ts';
import { INJECT_LABEL } from '../../reconcile/injection/names.ts';
import type { ContainerRange } from '../../reconcile/injection/resources.ts';
import type { InjectionConfig } from '../../reconcile/injection/settings.ts';
import { formatAnswer, readReview, type PodReview } from './admission-review.ts';
import type { ObjectMeta } from '../kube/kube-types.ts';
import type { EnsureCaConfigMap } from '../certificates/certificate-source.ts';

export interface InjectionWebhookParts {
  readonly config: () => InjectionConfig;
  /** What the operator knows of itself. */
  readonly own: Pick<InjectorSettings, 'version' | 'ownNamespace' | 'watchedNamespaces' | 'caConfigMap'>;
  /** A namespace as the API server has it now: a label may be a moment old. */
  readonly namespaceOf: (namespace: string) => Promise<Pick<ObjectMeta, 'labels' | 'annotations'>>;
  /** What its LimitRanges say of containers. */
  readonly rangesOf: (namespace: string) => Promise<readonly ContainerRange[]>;
  readonly ensureCaConfigMap: EnsureCaConfigMap;
  readonly log: Logger;
  readonly observer: AdmissionObserver;
}

export interface AdmissionObserver {
  /** `result`: injected, unchanged, other, or why not. */
  admitted(result: string, seconds: number): void;
}

/** Answers the text of a review. @throws ReviewError for a text that is none */
export class InjectionWebhook {
  readonly #parts: InjectionWebhookParts;

  constructor(parts: InjectionWebhookParts) {
    this.#parts = parts;
  }

  async answer(text: string): Promise<string> {
    const startMs = performance.now();
    const done = (result: string): void => {
      this.#parts.observer.admitted(result, (performance.now() - startMs) / 1000);
    };
    try {
      const review = readReview(text);
      if (!('pod' in review)) {
        done('other');
        return formatAnswer(review.uid, [], []);
      }
      const outcome = await this.#decide(review);
      done(outcome.kind === 'skipped' ? outcome.reason : outcome.kind);
      return formatAnswer(review.uid, outcome.kind === 'unchanged' ? [] : outcome.patch, outcome.warnings);
    } catch (error) {
      done('failed');
      throw error;
    }
  }

  async #decide({ pod, namespace, isDryRun }: PodReview): Promise<Injection> {
    const { own, config, ensureCaConfigMap, log } = this.#parts;
    const facts = await this.#factsOf(namespace);
    const outcome = inject(pod, facts, { ...config(), ...own }, randomBytes(12).toString('hex'));
    if (isDryRun) return outcome;
    if (outcome.kind === 'injected') await ensureCaConfigMap(namespace);
    const result = outcome.kind === 'skipped' ? outcome.reason : outcome.kind;
    log.info('pod admitted', { namespace, pod: nameOf(pod), result, warnings: outcome.warnings });
    return outcome;
  }

  async #factsOf(name: string): Promise<NamespaceFacts> {
    const [namespace, containerRanges] = await Promise.all([this.#namespaceOf(name), this.#rangesOf(name)]);
    const { labels = {}, annotations = {} } = namespace;
    return { name, labels, annotations, containerRanges };
  }

  /** Without an answer the API server's choice of whom to ask stands. */
  async #namespaceOf(name: string): Promise<Pick<ObjectMeta, 'labels' | 'annotations'>> {
    try {
      return await this.#parts.namespaceOf(name);
    } catch (error) {
      this.#parts.log.warn('namespace cannot be read', { namespace: name, error: messageOf(error) });
      return { labels: { [INJECT_LABEL]: 'true' } };
    }
  }

  /** Without an answer the limiter gets what the config says, and the API server judges it. */
  async #rangesOf(name: string): Promise<readonly ContainerRange[]> {
    try {
      return await this.#parts.rangesOf(name);
    } catch (error) {
      this.#parts.log.warn('limit ranges cannot be read', { namespace: name, error: messageOf(error) });
      return [];
    }
  }
}

/** Pods of a controller have no name yet. */
function nameOf({ metadata }: PodReview['pod']): string {
  const { name, generateName } = (metadata ?? {}) as { name?: string; generateName?: string };
  return name ?? `${generateName ?? ''}*`;
}
