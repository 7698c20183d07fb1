// Controller: what is around the pods that objects select. Input: feeds of pods, Services, EndpointSlices, namespaces
// and Events. Output: the look-ups of a tally, and the label pairs of pods whose surroundings have changed.
import type { Logger } from '../../lib/log.ts';
import { INJECT_LABEL } from '../../reconcile/injection/names.ts';
import type { InjectionScope } from '../../reconcile/injection/unlimited.ts';
import type { KubeObject, Pod, Service } from '../kube/kube-types.ts';
import type { Change } from '../kube/object-feed.ts';
import type { TallyWorld } from '../loop/limiter-tally.ts';
import type { Provider } from '../provider/provider.ts';
import { CreationFailures } from './creation-failures.ts';
import { addressesOf, EndpointIndex } from './endpoint-index.ts';
import { isRelevant, labelPairs, pairsOf, PodIndex } from './pod-index.ts';
import { isSameRoute, ServiceIndex } from './service-index.ts';

export interface SurroundingsSettings {
  readonly provider: Provider;
  /** What is injected here; absent: nothing. */
  readonly injector: Pick<InjectionScope, 'isExcluded'> | undefined;
  readonly log: Logger;
  /** Called with pairs of labels (`pairOf`): objects whose selector has one of them may be concerned. */
  readonly onChange: (pairs: Iterable<string>) => void;
  /** Called when a namespace asks for limiters, or no longer does. */
  readonly onNamespace: (namespace: string) => void;
}

export class Surroundings implements TallyWorld {
  readonly pods: PodIndex;
  readonly services: ServiceIndex;
  readonly endpoints: EndpointIndex;
  readonly failures: CreationFailures;
  readonly injection: InjectionScope;
  readonly #settings: SurroundingsSettings;

  /** Registers its handlers with the feeds: to be made before they are started. */
  constructor(settings: SurroundingsSettings) {
    this.#settings = settings;
    const { provider, injector, log, onChange } = settings;
    this.pods = new PodIndex(provider.pods);
    this.services = new ServiceIndex(provider.services);
    this.endpoints = new EndpointIndex(provider.endpointSlices);
    this.failures = new CreationFailures({
      events: provider.creationEvents,
      kube: provider.kube,
      log,
      onChange: (namespace, labels) => {
        onChange(pairsOf(namespace, labels));
      },
    });
    const { namespaces } = provider;
    this.injection = {
      isOn: injector !== undefined,
      isExcluded: (namespace) => injector?.isExcluded(namespace) === true,
      labelOf: (name) => (namespaces.hasSynced ? labelIn(namespaces.get(name)) : undefined),
    };
    this.#listen();
  }

  start(): void {
    this.failures.start();
  }

  async stop(): Promise<void> {
    await this.failures.stop();
  }

  #listen(): void {
    const { provider, onChange, onNamespace } = this.#settings;
    provider.services.onChange(({ before, after }) => {
      if (!isSameRoute(before, after)) onChange(this.#pairsBehind([before, after]));
    });
    provider.endpointSlices.onChange(({ before, after }) => {
      onChange(this.pods.withAddress([before, after].flatMap(addressesOf)).flatMap(labelPairs));
    });
    provider.pods.onChange((change: Change<Pod>) => {
      if (!isRelevant(change)) return;
      onChange([change.before, change.after].flatMap((pod) => (pod === undefined ? [] : labelPairs(pod))));
    });
    provider.namespaces.onChange(({ key, before, after }) => {
      if (labelIn(before) !== labelIn(after)) onNamespace(key);
    });
  }

  /** Of the pods that one of the Services selects. */
  #pairsBehind(services: readonly (Service | undefined)[]): string[] {
    const pods = services.flatMap(({ metadata, spec } = { metadata: { name: '' } }) =>
      this.pods.select(metadata.namespace ?? '', spec?.selector ?? {}),
    );
    return pods.flatMap(labelPairs);
  }
}

/** '' when it asks for nothing. */
function labelIn(namespace: KubeObject | undefined): string {
  return namespace?.metadata.labels?.[INJECT_LABEL] ?? '';
}
