// Controller: the injector at work. Input: reviews of pods, the namespace's labels as they are now. Output: answers with a patch;
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
import type { InjectionConfig } from '../../reconcile/injection/settings.ts';
import { formatAnswer, readReview, type PodReview } from './admission-review.ts';
import type { EnsureCaConfigMap } from '../certificates/certificate-source.ts';

export interface InjectionWebhookParts {
  readonly config: () => InjectionConfig;
  /** What the operator knows of itself. */
  readonly own: Pick<InjectorSettings, 'version' | 'ownNamespace' | 'watchedNamespaces' | 'caConfigMap'>;
  /** Labels of a namespace, as the API server has them now: a label may be a moment old. */
  readonly labelsOf: (namespace: string) => Promise<Readonly<Record<string, string>>>;
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
    const facts = await this.#namespaceOf(pod, namespace);
    const outcome = inject(pod, facts, { ...config(), ...own }, randomBytes(12).toString('hex'));
    if (isDryRun) return outcome;
    if (outcome.kind === 'injected') await ensureCaConfigMap(namespace);
    const result = outcome.kind === 'skipped' ? outcome.reason : outcome.kind;
    log.info('pod admitted', { namespace, pod: nameOf(pod), result, warnings: outcome.warnings });
    return outcome;
  }

  /** The pod's own label decides without its namespace's. Without an answer the API server's choice of whom to ask stands. */
  async #namespaceOf({ metadata }: PodReview['pod'], name: string): Promise<NamespaceFacts> {
    if (metadata?.labels?.[INJECT_LABEL] !== undefined) return { name, labels: {} };
    try {
      return { name, labels: await this.#parts.labelsOf(name) };
    } catch (error) {
      this.#parts.log.warn('labels of a namespace cannot be read', { namespace: name, error: messageOf(error) });
      return { name, labels: { [INJECT_LABEL]: 'true' } };
    }
  }
}

/** Pods of a controller have no name yet. */
function nameOf({ metadata }: PodReview['pod']): string {
  const { name, generateName } = (metadata ?? {}) as { name?: string; generateName?: string };
  return name ?? `${generateName ?? ''}*`;
}
