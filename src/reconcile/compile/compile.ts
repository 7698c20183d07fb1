// Reconcile, compile: a checked object and the operator's settings -> its limiter config. Pure and total: equal
// objects give equal bytes in whatever order their fields were written.
import { capabilitiesAt, usesOf } from '../../contract/capabilities.ts';
import type {
  LimitConfig,
  LimiterConfig,
  RedisEndpoint,
  ResponseConfig,
  StoreConfig,
} from '../../contract/limiter-config.ts';
import { DEFAULTS } from '../../crd/defaults.ts';
import type { RateLimiting, WeirObject } from '../../crd/types.ts';
import { compileIdentity } from './compile-identity.ts';
import { compileRouting, compileShortForms } from './compile-kind.ts';
import { compileLimits } from './compile-limits.ts';
import { compileStore } from './compile-store.ts';
import { given } from '../optional.ts';
import type { ReconcileSettings } from '../types.ts';

const LIMITS = 'spec.rateLimiting.limits[]';
const IN_MEMORY: StoreConfig = { type: 'memory' };

/**
 * Compiles an object that `validate` accepts; what an absent field means is resolved here (crd/defaults.ts). Without
 * `rateLimiting` the config routes and has no limits; it names no Redis then, so that no limiter connects to one for
 * it.
 */
export function compile(object: WeirObject, settings: ReconcileSettings): LimiterConfig {
  const { namespace, name, uid, creationTimestamp } = object.metadata;
  const context = { namespace, name, ...given('clusterDomain', settings.clusterDomain) };
  const limits = limitsOf(object);
  const store = limits.length === 0 ? IN_MEMORY : (compileStore(object, settings) ?? IN_MEMORY);
  const routing = compileRouting(object, context);
  return {
    kind: object.kind,
    namespace,
    name,
    uid: uid ?? '',
    ...given('createdAt', creationTimestamp),
    requires: requirements(object, { routing, limits, store }),
    routing,
    ...compileIdentity(object.spec.authentication),
    store,
    limits,
    response: responseOf(object.spec.rateLimiting ?? {}),
  };
}

function limitsOf(object: WeirObject): LimitConfig[] {
  const { rateLimiting } = object.spec;
  if (rateLimiting === undefined) return [];
  return [...compileShortForms(object), ...compileLimits(rateLimiting)];
}

/** What a limiter must be able to do: what the spec names, and what its absent fields mean. */
function requirements(
  { spec }: WeirObject,
  { routing, limits, store }: Pick<LimiterConfig, 'routing' | 'limits' | 'store'>,
): string[] {
  const ids = usesOf({ spec }).map((use) => use.id);
  if (routing.kind === 'mcp') ids.push(...capabilitiesAt('spec.transport', routing.transport));
  for (const limit of limits) {
    ids.push(...capabilitiesAt(`${LIMITS}.measure`, limit.measure), ...capabilitiesAt(`${LIMITS}.${limit.rule.kind}`));
    ids.push(...capabilitiesAt('spec.rateLimiting.enforcement', limit.enforcement));
    if (store.type === 'redis')
      ids.push(...storeNeeds(store.redis), ...capabilitiesAt('spec.rateLimiting.failurePolicy', limit.failurePolicy));
    if (limit.per.some((part) => part.type === 'user')) ids.push('key.user');
    if (limit.when.some((match) => match.tool !== undefined)) ids.push('match.tool');
  }
  return [...new Set(ids)].sort();
}

/** The default Redis of the operator needs what no field of the object says. */
function storeNeeds({ username, password, tls }: RedisEndpoint): string[] {
  const hasLogin = username !== undefined || password !== undefined;
  return ['store.redis', ...(hasLogin ? ['store.redis-auth'] : []), ...(tls === undefined ? [] : ['store.redis-tls'])];
}

function responseOf({ response }: RateLimiting): ResponseConfig {
  const { dialect, headers, resetFormat, mcp, cors } = { ...DEFAULTS.response, ...response };
  const { mcpForm, mcpCode } = DEFAULTS.response;
  return {
    dialect,
    headers: headers ?? [],
    resetFormat,
    mcp: { form: mcp?.form ?? mcpForm, code: mcp?.code ?? mcpCode },
    // Absent means the default to limiters: an object that does not name it is the same config as in 0.2.0.
    ...(cors === DEFAULTS.response.cors ? {} : { cors }),
  };
}
