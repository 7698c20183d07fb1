// Reconcile, injection: why a pod that an object selects carries no limiter. Input: what the operator knows of the
// pod and its namespace. Output: a reason with the mend: the injector's own when it saw the pod, else what the labels
// say. Pure.
import { INJECT_LABEL } from './names.ts';
import { parseSkip, skipText, type SkipReason } from './skips.ts';

/** A pod without a limiter. */
export interface UnlimitedFacts {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The value of the injector's annotation. */
  readonly notInjected?: string;
  /** What no injector would have changed. */
  readonly unfit?: 'HostNetwork' | 'Windows' | 'MirrorPod';
}

/** What is known of injection around it. */
export interface InjectionScope {
  /** false: this operator injects nothing. */
  readonly isOn: boolean;
  isExcluded(namespace: string): boolean;
  /** The label of the namespace; '' when it has none, undefined: not known. */
  labelOf(namespace: string): string | undefined;
}

export function whyUnlimited(
  facts: UnlimitedFacts,
  scope: InjectionScope,
): { readonly reason: SkipReason; readonly message: string } {
  const said = parseSkip(facts.notInjected);
  if (said !== undefined) return { reason: said.reason, message: said.text };
  const reason = guess(facts, scope);
  return { reason, message: skipText({ reason }, facts.namespace) };
}

/** In the order of the injector, with what it was never asked about first. */
function guess({ namespace, labels, unfit }: UnlimitedFacts, scope: InjectionScope): SkipReason {
  if (!scope.isOn) return 'NoInjector';
  const own = labels[INJECT_LABEL];
  if (own === 'false') return 'OptedOut';
  if (scope.isExcluded(namespace)) return 'ExcludedNamespace';
  if (unfit !== undefined) return unfit;
  const ofNamespace = scope.labelOf(namespace);
  if (own !== 'true' && ofNamespace !== undefined && ofNamespace !== 'true') return 'NotAsked';
  return 'NotSeen';
}
