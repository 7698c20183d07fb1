// Controller, push: which limiter gets which resource. In: who a limiter is and where a resource belongs; out: yes
// or no.

/** Where a resource belongs. Its namespace never changes; the selector may. */
export type Visibility =
  | 'everyone'
  | {
      readonly namespace: string;
      /**
       * Absent: shared limiters only; every: all limiters of the namespace. A selector without labels selects nothing
       * (the schema refuses it).
       */
      readonly workloadSelector?: { readonly matchLabels: Readonly<Record<string, string>> } | 'every';
    };

/** A pod as the API server has it. */
export interface PodView {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Who a limiter is, as its token and the API server say: never as it says itself. */
export type LimiterView =
  | { readonly kind: 'pod'; readonly pod: PodView }
  | {
      readonly kind: 'shared';
      /** The namespaces that it was authorised for. */
      readonly namespaces: 'all' | readonly string[];
      /** The pod that its token is bound to, if any: when that pod goes, the stream ends. */
      readonly pod?: PodView;
    };

/** What people know a limiter by: `<namespace>/<name>` of its pod, else its id. */
export function shownName({ pod }: LimiterView, limiterId: string): string {
  return pod === undefined ? limiterId : `${pod.namespace}/${pod.name}`;
}

/** Whether every label of the selector is on the pod. */
export function selects(
  matchLabels: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
): boolean {
  const wanted = Object.entries(matchLabels);
  return wanted.length > 0 && wanted.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);
}

/** Whether a limiter may be told anything of a namespace. */
export function coversNamespace(limiter: LimiterView, namespace: string): boolean {
  if (limiter.kind === 'pod') return limiter.pod.namespace === namespace;
  return limiter.namespaces === 'all' || limiter.namespaces.includes(namespace);
}

/**
 * Whether a limiter gets a resource: the sidecar of a pod those of its own namespace that select its pod; a shared
 * limiter those of the namespaces that it was authorised for.
 */
export function sees(limiter: LimiterView, visibility: Visibility): boolean {
  if (visibility === 'everyone') return true;
  if (!coversNamespace(limiter, visibility.namespace)) return false;
  if (limiter.kind === 'shared') return true;
  const selector = visibility.workloadSelector;
  if (selector === undefined || selector === 'every') return selector === 'every';
  return selects(selector.matchLabels, limiter.pod.labels);
}
