// Reconcile, compile: a checked object and the operator's settings -> its limiter config. Pure and total: equal objects give
// equal bytes in whatever order their fields were written.
import { usesOf } from '../../contract/capabilities.ts';
import type {
  LimitConfig,
  LimiterConfig,
  RedisEndpoint,
  ResponseConfig,
  StoreConfig,
} from '../../contract/limiter-config.ts';
import type { RateLimiting, WeirObject } from '../../crd/types.ts';
import { compileIdentity } from './compile-identity.ts';
import { compileLimits, compileShortForm } from './compile-limits.ts';
import { compileMcpRouting, compileModelRouting } from './compile-routing.ts';
import { compileStore } from './compile-store.ts';
import { given } from '../optional.ts';
import type { ReconcileSettings } from '../types.ts';

const IN_MEMORY: StoreConfig = { type: 'memory' };

/**
 * Compiles an object that `validate` found nothing wrong with. Without `rateLimiting` the config routes and has no limits;
 * it names no Redis then, so that no limiter connects to one for it.
 */
export function compile(object: WeirObject, settings: ReconcileSettings): LimiterConfig {
  const { namespace, name, uid, creationTimestamp } = object.metadata;
  const context = { namespace, name, ...given('clusterDomain', settings.clusterDomain) };
  const limits = limitsOf(object);
  const store = limits.length === 0 ? IN_MEMORY : (compileStore(object, settings) ?? IN_MEMORY);
  return {
    kind: object.kind,
    namespace,
    name,
    uid: uid ?? '',
    ...given('createdAt', creationTimestamp),
    requires: requirements(object, limits, store),
    routing:
      object.kind === 'ModelRoute'
        ? compileModelRouting(object.spec, context)
        : compileMcpRouting(object.spec, context),
    ...compileIdentity(object.spec.authentication),
    store,
    limits,
    response: responseOf(object.spec.rateLimiting),
  };
}

function limitsOf(object: WeirObject): LimitConfig[] {
  const { rateLimiting } = object.spec;
  if (rateLimiting === undefined) return [];
  const shortForm = object.kind === 'MCPServer' ? compileShortForm(rateLimiting) : [];
  return [...shortForm, ...compileLimits(rateLimiting)];
}

/** What a limiter must be able to do: what the object asks for by name, and what its defaults stand for. */
function requirements(object: WeirObject, limits: readonly LimitConfig[], store: StoreConfig): string[] {
  const ids = usesOf({ spec: object.spec }).map((use) => use.id);
  for (const limit of limits) {
    ids.push(`measure.${limit.measure.toLowerCase()}`, `limit.${limit.rule.kind}`);
    if (limit.enforcement === 'Shadow') ids.push('enforcement.shadow');
    if (store.type === 'redis') ids.push(...storeNeeds(store.redis), `failure.${limit.failurePolicy.toLowerCase()}`);
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

const DEFAULT_RESPONSE: ResponseConfig = {
  dialect: 'Auto',
  headers: [],
  resetFormat: 'Delta',
  mcp: { form: 'ToolResult', code: 429 },
};

function responseOf(rateLimiting: RateLimiting | undefined): ResponseConfig {
  const response = rateLimiting?.response;
  if (response === undefined) return DEFAULT_RESPONSE;
  const { dialect, headers, resetFormat, mcp } = response;
  return {
    dialect,
    headers: headers ?? [],
    resetFormat,
    mcp: mcp === undefined ? DEFAULT_RESPONSE.mcp : { form: mcp.form, code: mcp.code },
  };
}
