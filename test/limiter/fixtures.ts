// Test part: short ways to say a config, a compiled object and a request. Every default is the one that the operator
// fills in.
import type {
  FleetConfig,
  LimitConfig,
  LimiterConfig,
  McpRouting,
  ModelRouting,
  ResponseConfig,
  RouteRule,
} from '../../src/contract/limiter-config.ts';
import { ownCapabilities } from '../../src/contract/capabilities.ts';
import type { Identity, RequestFacts, WireRequest } from '../../src/limiter/decide/decision.ts';
import { RuntimeSet } from '../../src/limiter/compile/runtime-set.ts';
import { compileRuntime } from '../../src/limiter/compile/runtime.ts';
import type { RouteOptions } from '../../src/limiter/route/route-index.ts';
import type { RuntimeObject } from '../../src/limiter/compile/runtime-object.ts';
import { MINUTE, tokens } from './store/fixtures.ts';

export const UPSTREAM = { url: 'http://up.serving.svc:8000', weight: 1 };

export const RESPONSE: ResponseConfig = {
  dialect: 'Auto',
  headers: [],
  resetFormat: 'Delta',
  mcp: { form: 'ToolResult', code: 429 },
};

export function limit(change: Partial<LimitConfig> = {}): LimitConfig {
  return {
    name: 'all',
    measure: 'Requests',
    rule: tokens(10, MINUTE),
    per: [],
    when: [],
    priority: 0,
    enforcement: 'Enforce',
    failurePolicy: 'Local',
    cost: 1,
    ...change,
  };
}

export function rule(change: Partial<RouteRule> = {}): RouteRule {
  return { name: 'default', headers: [], methods: [], targets: [UPSTREAM], ...change };
}

export function modelRouting(change: Partial<ModelRouting> = {}): ModelRouting {
  return { kind: 'model', models: ['m'], hostnames: [], pathPrefix: '/', rules: [rule()], ...change };
}

export function mcpRouting(change: Partial<McpRouting> = {}): McpRouting {
  const base = {
    kind: 'mcp',
    transport: 'streamable-http',
    hostnames: [],
    pathPrefix: '/',
    targets: [UPSTREAM],
  } as const;
  return { ...base, ...change };
}

export function config(change: Partial<LimiterConfig> = {}): LimiterConfig {
  const name = change.name ?? 'chat';
  const namespace = change.namespace ?? 'serving';
  return {
    kind: change.routing?.kind === 'mcp' ? 'MCPServer' : 'ModelRoute',
    namespace,
    name,
    uid: `uid-${namespace}-${name}`,
    requires: [],
    routing: modelRouting(),
    store: { type: 'memory' },
    limits: [],
    response: RESPONSE,
    ...change,
  };
}

export const FLEET: Pick<FleetConfig, 'egressAllow' | 'clusterDomain'> = { egressAllow: ['*'] };

export function compiled(change: Partial<LimiterConfig> = {}, fleet = FLEET): RuntimeObject {
  return compileRuntime(config(change), ownCapabilities(), fleet);
}

/** A set of objects by their configs. */
export function setOf(options: RouteOptions, ...configs: readonly Partial<LimiterConfig>[]): RuntimeSet {
  return RuntimeSet.empty(options).withChanges(
    configs.map((change) => compiled(change)),
    [],
  );
}

export function request(change: Partial<WireRequest> = {}): WireRequest {
  return {
    method: 'POST',
    host: 'gateway.example.com',
    path: '/v1/chat/completions',
    query: new URLSearchParams(),
    headers: {},
    peerAddress: '192.0.2.1',
    ...change,
  };
}

export function facts(change: Partial<WireRequest> = {}, identity: Partial<Identity> = {}): RequestFacts {
  const wire = request(change);
  return {
    ...wire,
    upstreamPath: wire.path,
    identity: { attributes: {}, clientAddress: wire.peerAddress, ...identity },
  };
}
