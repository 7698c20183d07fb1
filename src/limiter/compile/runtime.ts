// Limiter, compile stage: LimiterConfig -> frozen RuntimeObject (regexes, CIDRs and key prefixes made once), or a
// ConfigRejected whose text is the NACK.
import { X509Certificate } from 'node:crypto';
import { missingCapabilities } from '../../contract/capabilities.ts';
import {
  resourceName,
  secretKeyOf,
  type FleetConfig,
  type IdentityConfig,
  type LimitConfig,
  type LimiterConfig,
  type McpRouting,
  type ModelRouting,
  type RedisEndpoint,
  type RouteRule,
  type SecretValues,
  type StoreConfig,
  type Target,
  type TrustedHeaders,
} from '../../contract/limiter-config.ts';
import { storePlaceOf } from '../../contract/limiter-report.ts';
import { compileCidrs } from '../../lib/values/address.ts';
import { ConfigRejected } from '../config/config-rejected.ts';
import { addressProblem, compileEgress, targetProblem, type EgressPolicy } from '../egress/egress.ts';
import { bucketKeyPrefix, isCallerChosen, sourceOfPart } from '../decide/keys.ts';
import { capacityOf } from '../decide/degrade.ts';
import { checkLimit } from '../decide/limit-check.ts';
import { compileWhen, headerOf, sourcesOfMatch } from '../decide/match.ts';
import { trustedHeaderNames, trustedHeadersProvider } from '../identity/trusted-headers.ts';
import { normalisePath } from '../../lib/values/path.ts';
import { EVERY_MODEL, modelName } from '../request/model-request.ts';
import { headerSource, type Source } from '../request/one-value.ts';
import type { RuntimeIdentity, RuntimeLimit, RuntimeObject, RuntimeRouting, RuntimeRule } from './runtime-object.ts';
import { chargeOf } from './charge.ts';
import { compilePath, compileValues } from './text-matcher.ts';

const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const NO_SECRETS: SecretValues = new Map();
const TAKES_EVERYTHING: RuntimeRule['matches'] = () => true;

/**
 * Compiles one object. `own` are the capabilities of this limiter. Fields that it does not know are ignored: only
 * `requires` can ask for what it has not. A shared limiter dials a Redis that an object names only where the operator's
 * egress list covers it; a sidecar reaches no more than its own pod does anyway.
 * @throws ConfigRejected naming the field and the fix; nothing else.
 */
export function compileRuntime(
  config: LimiterConfig,
  own: ReadonlySet<string>,
  fleet: Pick<FleetConfig, 'egressAllow' | 'clusterDomain'>,
  mode: 'shared' | 'sidecar' = 'shared',
  secrets: SecretValues = NO_SECRETS,
): RuntimeObject {
  try {
    const egress = compileEgress(fleet.egressAllow, fleet.clusterDomain);
    if (mode === 'shared') checkStore(config.store, config.namespace, egress);
    checkAuthority(config.store, secrets);
    return compile({ config, secrets }, own, egress);
  } catch (error) {
    if (error instanceof ConfigRejected) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigRejected(`the config cannot be read: ${reason}`);
  }
}

function compile(
  { config, secrets }: Pick<RuntimeObject, 'config' | 'secrets'>,
  own: ReadonlySet<string>,
  egress: EgressPolicy,
): RuntimeObject {
  const missing = missingCapabilities(config.requires, own);
  if (missing.length > 0) {
    throw new ConfigRejected(
      `this limiter lacks ${missing.join(', ')}: upgrade it, or remove the fields that need them`,
    );
  }
  if (!NAMESPACE.test(config.namespace)) throw new ConfigRejected(`namespace "${config.namespace}" is not a DNS label`);
  const limits = config.limits.map((limit, index) => compileLimit(config, limit, `limits[${index}]`));
  rejectDuplicates(config.limits);
  return deepFreeze({
    config,
    secrets,
    resourceName: resourceName(config),
    routing: compileRouting(config, egress),
    ...(config.identity === undefined ? {} : { identity: compileIdentity(config.identity) }),
    reads: [...new Set(sourcesOf(config))],
    limitSet: {
      name: resourceName(config),
      limits,
      order: evaluationOrder(config.limits),
      store: { use: config, secrets, id: storePlaceOf(config) },
    },
  });
}

function compileLimit(config: LimiterConfig, limit: LimitConfig, field: string): RuntimeLimit {
  const charge = chargeOf(limit);
  // requires should have stopped a measure that this limiter does not count; this does if it did not.
  if (charge === undefined)
    throw new ConfigRejected(`${field}.measure ${JSON.stringify(limit.measure)} is not counted by this limiter`);
  checkLimit(limit, field);
  const { rule } = limit;
  return {
    config: limit,
    keyPrefix: bucketKeyPrefix(config, limit),
    applies: compileWhen(limit.when, `${field}.when`),
    capacity: capacityOf(rule),
    charge,
    callerChosen: limit.per.some((part) => isCallerChosen(part, takesEveryModel(config))),
  };
}

function takesEveryModel({ routing }: LimiterConfig): boolean {
  return routing.kind === 'model' && routing.models.includes(EVERY_MODEL);
}

/** Headers that say what an MCP message is: a gateway in front and the server must read the same. */
const MCP_HEADERS = ['mcp-session-id', 'mcp-protocol-version', 'mcp-method', 'mcp-name'];

function sourcesOf({ routing, limits }: LimiterConfig): readonly Source[] {
  const ofLimits = limits.flatMap(({ when, per }) => [...when.flatMap(sourcesOfMatch), ...per.flatMap(sourceOfPart)]);
  const ofRouting =
    routing.kind === 'mcp' ? MCP_HEADERS : routing.rules.flatMap(({ headers }) => headers.map(({ name }) => name));
  return [headerSource('host'), headerSource('content-type'), ...ofRouting.map(headerSource), ...ofLimits];
}

function rejectDuplicates(limits: readonly LimitConfig[]): void {
  const names = new Set<string>();
  limits.forEach(({ name }, index) => {
    if (names.has(name)) throw new ConfigRejected(`limits[${index}].name "${name}" is there twice: names are unique`);
    names.add(name);
  });
}

function evaluationOrder(limits: readonly LimitConfig[]): readonly number[] {
  return limits
    .map((limit, index) => ({ priority: limit.priority, index }))
    .sort((a, b) => b.priority - a.priority || a.index - b.index)
    .map(({ index }) => index);
}

function compileRouting(config: LimiterConfig, egress: EgressPolicy): RuntimeRouting {
  const { routing } = config;
  const checkTargets = (targets: readonly Target[], field: string): void => {
    targets.forEach((target, index) => {
      checkTarget(target, `${field}[${index}]`, config.namespace, egress);
    });
  };
  return {
    kind: routing.kind,
    models: routing.kind === 'model' ? routing.models.map((name) => modelName(name) ?? name) : [],
    hostnames: routing.hostnames.length === 0 ? [''] : routing.hostnames.map((name) => name.toLowerCase()),
    pathPrefix: compilePrefix(routing.pathPrefix),
    isDefaultPrefix: routing.isDefaultPrefix === true,
    rules: routing.kind === 'model' ? modelRules(routing, checkTargets) : [mcpRule(routing, checkTargets)],
  };
}

type CheckTargets = (targets: readonly Target[], field: string) => void;

function modelRules(routing: ModelRouting, checkTargets: CheckTargets): readonly RuntimeRule[] {
  if (routing.models.includes(EVERY_MODEL) && routing.models.length > 1) {
    throw new ConfigRejected('routing.models has "*" and names: "*" stands alone');
  }
  if (routing.models.length === 0) throw new ConfigRejected('routing.models is empty: name at least one model');
  if (routing.rules.length === 0) throw new ConfigRejected('routing.rules is empty: there is at least one rule');
  return routing.rules.map((rule, index) => {
    // Targets of the object are the targets of its rules: with one rule the user wrote `targets`, not
    // `rules[0].targets`.
    checkTargets(rule.targets, routing.rules.length === 1 ? 'targets' : `rules[${index}].targets`);
    return compileRule(rule, `rules[${index}]`);
  });
}

function mcpRule(routing: McpRouting, checkTargets: CheckTargets): RuntimeRule {
  checkTargets(routing.targets, 'targets');
  return { name: '', matches: TAKES_EVERYTHING, targets: routing.targets, specificity: [0, 0, 0, 0] };
}

function checkTarget(target: Target, field: string, namespace: string, egress: EgressPolicy): void {
  const problem = targetProblem(egress, namespace, target.url);
  if (problem !== undefined) throw new ConfigRejected(`${field}.url ${problem}`);
  if (!Number.isSafeInteger(target.weight) || target.weight < 0) {
    throw new ConfigRejected(`${field}.weight ${target.weight} is not a whole number of at least 0`);
  }
}

function checkStore(store: StoreConfig, namespace: string, egress: EgressPolicy): void {
  if (store.type === 'memory' || store.isDefault === true) return;
  for (const [field, addresses] of addressesOf(store.redis)) {
    for (const address of addresses) {
      const problem = addressProblem(egress, namespace, address);
      if (problem !== undefined) throw new ConfigRejected(`rateLimiting.redis.${field} ${problem}`);
    }
  }
}

/** A text that is no certificate would only show as a server that nobody trusts. */
function checkAuthority(store: StoreConfig, secrets: SecretValues): void {
  const ca = store.type === 'redis' ? store.redis.tls?.ca : undefined;
  const pem = ca === undefined ? undefined : secrets.get(secretKeyOf(ca));
  if (ca === undefined || pem === undefined) return;
  try {
    new X509Certificate(pem);
  } catch {
    const { name, key } = ca.secret;
    throw new ConfigRejected(
      `rateLimiting.redis.tls.caSecretRef: key ${key} of Secret ${name} is no certificate in PEM`,
    );
  }
}

function addressesOf({ address, sentinel, cluster }: RedisEndpoint): [field: string, addresses: readonly string[]][] {
  return [
    ['address', address === undefined ? [] : [address]],
    ['sentinel.addresses', sentinel?.addresses ?? []],
    ['cluster.addresses', cluster?.addresses ?? []],
  ];
}

function compileRule(rule: RouteRule, field: string): RuntimeRule {
  const path = rule.path === undefined ? undefined : compilePath(rule.path, `${field}.path`);
  const headers = rule.headers.map((header, index) => {
    const test = compileValues(header, `${field}.headers[${index}]`);
    const name = header.name.toLowerCase();
    return (all: Readonly<Record<string, string | undefined>>): boolean => {
      const value = headerOf(all, name);
      return test(value === undefined ? [] : [value]);
    };
  });
  const methods = new Set(rule.methods.map((method) => method.toUpperCase()));
  return {
    name: rule.name,
    matches: (request, below) =>
      (path?.(below) ?? true) &&
      (methods.size === 0 || methods.has(request.method.toUpperCase())) &&
      headers.every((holds) => holds(request.headers)),
    targets: rule.targets,
    specificity: [...pathSpecificity(rule), headers.length, methods.size > 0 ? 1 : 0],
  };
}

function pathSpecificity({ path }: RouteRule): readonly [number, number] {
  if (path?.exact !== undefined) return [3, path.exact.length];
  if (path?.prefix !== undefined) return [2, path.prefix.length];
  return path?.regex === undefined ? [0, 0] : [1, path.regex.length];
}

function compilePrefix(prefix: string): string {
  const normal = normalisePath(prefix);
  if (normal === undefined) throw new ConfigRejected(`routing.pathPrefix "${prefix}" is not a path: begin it with "/"`);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

function compileIdentity(identity: IdentityConfig): RuntimeIdentity {
  if (!Number.isSafeInteger(identity.trustedHops) || identity.trustedHops < 0) {
    throw new ConfigRejected(`identity.trustedHops ${identity.trustedHops} is not a whole number of at least 0`);
  }
  const headers: TrustedHeaders = identity.trustedHeaders ?? { attributes: {}, trustedPeers: [] };
  const peers = compileCidrs(headers.trustedPeers);
  if ('bad' in peers) throw new ConfigRejected(`identity.trustedHeaders.trustedPeers: "${peers.bad}" is not a CIDR`);
  const headerNames = trustedHeaderNames(headers);
  return {
    required: identity.required,
    trustedHops: identity.trustedHops,
    trustedPeers: peers.set,
    providers: headerNames.length === 0 ? [] : [trustedHeadersProvider(headers)],
    headerNames,
  };
}

function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value) as unknown[]) {
    if (typeof member === 'object' && member !== null && !Object.isFrozen(member)) deepFreeze(member);
  }
  return Object.freeze(value);
}
