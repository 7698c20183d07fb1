// Reconcile, status: why an object whose operator was uninstalled says Unknown. Input: its spec, and what became of
// the default Redis. Output: the message of its conditions: what still holds, and what to do.

/**
 * none: it did not belong to the release. handed-over: limiters had been given shares of their own. gone: they had
 * not.
 */
export type RedisOfRelease = 'none' | 'handed-over' | 'gone';

const KEPT = 'limiters keep enforcing their last config';
const HELD: Readonly<Record<RedisOfRelease, string>> = {
  none: KEPT,
  'handed-over':
    'limiters keep enforcing its limits, each its share in memory, because the trial Redis was uninstalled too',
  gone: 'the trial Redis was uninstalled too, and limiters were not prepared for that: limits follow their failurePolicy until pods restart',
};

/** The spec may be anything. */
export function operatorGoneMessage(spec: unknown, redis: RedisOfRelease): string {
  const held = usesDefaultRedis(spec) ? HELD[redis] : KEPT;
  return `Weir was uninstalled and no operator follows this object: ${held}; edits take no effect, and new pods get no limiter. Install Weir again, or delete this object and restart the pods that carry a limiter`;
}

function usesDefaultRedis(spec: unknown): boolean {
  const { rateLimiting } = (spec ?? {}) as {
    readonly rateLimiting?: { readonly scope?: unknown; readonly redis?: unknown };
  };
  return rateLimiting?.redis === undefined && rateLimiting?.scope !== 'Local';
}
