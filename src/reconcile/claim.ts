// Reconcile, claim: a compiled config -> the requests that it takes, as keys, and whether two claims conflict.
import type { LimiterConfig, RouteRule } from '../contract/limiter-config.ts';
import { canonicalJson } from '../contract/snapshot.ts';
import type { WorkloadSelector } from '../crd/types.ts';
import { given } from './optional.ts';
import type { RequestClaim } from './types.ts';

export function claimOf(config: LimiterConfig, workloadSelector: WorkloadSelector | undefined): RequestClaim {
  const { namespace, routing } = config;
  const sidecarPrefix = routing.isDefaultPrefix === true ? '/' : routing.pathPrefix;
  return {
    namespace,
    shared: requestKeys(config, routing.pathPrefix).map((key) => `shared ${key}`),
    sidecar:
      workloadSelector === undefined
        ? []
        : requestKeys(config, sidecarPrefix).map((key) => `sidecar ${namespace} ${key}`),
    ...given('workloadSelector', workloadSelector),
  };
}

/** Where two objects meet they conflict when no request could be told to belong to one rather than the other. */
export function conflicts(a: RequestClaim, b: RequestClaim): boolean {
  if (a.workloadSelector !== undefined && b.workloadSelector !== undefined) {
    return overlap(a.workloadSelector, b.workloadSelector) && intersect(a.sidecar, b.sidecar);
  }
  return meetOnShared(a, b) && intersect(a.shared, b.shared);
}

/**
 * Objects that both belong to pods meet on pods. Otherwise objects meet on shared limiters: but nobody in another
 * namespace can take an object away from the pods that it belongs to.
 */
function meetOnShared(a: RequestClaim, b: RequestClaim): boolean {
  const noPods = a.workloadSelector === undefined && b.workloadSelector === undefined;
  return noPods || a.namespace === b.namespace;
}

/** Whether a pod could carry the labels of both. */
function overlap(a: WorkloadSelector, b: WorkloadSelector): boolean {
  return Object.entries(a.matchLabels).every(
    ([label, value]) => !Object.hasOwn(b.matchLabels, label) || b.matchLabels[label] === value,
  );
}

function intersect(a: readonly string[], b: readonly string[]): boolean {
  const wanted = new Set(a);
  return b.some((key) => wanted.has(key));
}

/** One key for each set of requests that an object takes: host, prefix and, for models, model and match of a rule. */
function requestKeys({ kind, routing }: LimiterConfig, prefix: string): string[] {
  const hosts = routing.hostnames.length > 0 ? routing.hostnames : ['*'];
  const places = hosts.map((host) => `${kind} ${host} ${prefix}`);
  if (routing.kind === 'mcp') return places;
  const matches = [...new Set(routing.rules.map(matchKey))];
  return places.flatMap((place) =>
    routing.models.flatMap((model) => matches.map((match) => `${place} ${JSON.stringify(model)} ${match}`)),
  );
}

/** Equal for rules that take the same requests, in whatever order their conditions were written. */
function matchKey({ path, headers, methods }: RouteRule): string {
  return canonicalJson({
    path,
    headers: [...new Set(headers.map(canonicalJson))].sort(),
    methods: [...methods].sort(),
  });
}
