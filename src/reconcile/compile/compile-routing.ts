// Reconcile, compile: where requests come in and go out, as written -> routing of a limiter config.
import type { McpRouting, ModelRouting, RouteRule, Target } from '../../contract/limiter-config.ts';
import { DEFAULTS } from '../../crd/defaults.ts';
import type { MCPServerSpec } from '../../crd/kinds/mcp-server.ts';
import type { ModelRouteSpec, RouteRuleSpec } from '../../crd/kinds/model-route.ts';
import type { TargetSpec } from '../../crd/kinds/target.ts';
import { headerMatch, stringMatch } from './compile-conditions.ts';
import { plainText } from '../../lib/values/text.ts';
import { optional } from '../optional.ts';

/** What routing needs to know beside the spec. */
export interface RoutingContext {
  readonly namespace: string;
  readonly name: string;
  /** Absent: Service names end in `.svc`. */
  readonly clusterDomain?: string;
}

/** The name of the one rule of an object that has none. */
const ONLY_RULE = 'default';

export function compileModelRouting(spec: ModelRouteSpec, context: RoutingContext): ModelRouting {
  const ownTargets = compileTargets(spec.targets, context);
  const rules = (spec.rules ?? []).map((rule, index) => compileRule(rule, index, ownTargets, context));
  const models = [...(spec.modelName === undefined ? [] : [spec.modelName]), ...(spec.loraAdapters ?? [])];
  return {
    kind: 'model',
    models: [...new Set(models.map((name) => plainText(name.trim())))],
    ...placeOf(spec, context),
    rules: rules.length > 0 ? rules : [{ name: ONLY_RULE, headers: [], methods: [], targets: ownTargets }],
  };
}

export function compileMcpRouting(spec: MCPServerSpec, context: RoutingContext): McpRouting {
  return {
    kind: 'mcp',
    transport: spec.transport ?? DEFAULTS.mcpServer.transport,
    ...placeOf(spec, context),
    targets: compileTargets(spec.targets, context),
  };
}

/** Hosts and prefix. Hosts in lower case, each once. */
function placeOf(spec: ModelRouteSpec | MCPServerSpec, context: RoutingContext) {
  const hostnames = [...new Set((spec.hostnames ?? []).map((host) => host.toLowerCase()))];
  if (spec.pathPrefix === undefined) {
    return { hostnames, pathPrefix: `/${context.namespace}/${context.name}`, isDefaultPrefix: true };
  }
  return { hostnames, pathPrefix: spec.pathPrefix.replace(/(?<=.)\/+$/, '') };
}

function compileRule(
  spec: RouteRuleSpec,
  index: number,
  ownTargets: readonly Target[],
  context: RoutingContext,
): RouteRule {
  const matches = spec.matches;
  return {
    name: spec.name ?? `rules[${index}]`,
    ...optional('path', matches?.path, stringMatch),
    headers: (matches?.headers ?? []).map(headerMatch),
    methods: [...(matches?.methods ?? [])],
    targets:
      spec.targets === undefined || spec.targets.length === 0 ? ownTargets : compileTargets(spec.targets, context),
  };
}

function compileTargets(targets: readonly TargetSpec[] | undefined, context: RoutingContext): Target[] {
  return (targets ?? [])
    .filter((target) => !isNameless(target))
    .map((target) => ({ url: urlOf(target, context), weight: target.weight ?? DEFAULTS.target.weight }));
}

function urlOf(target: TargetSpec, context: RoutingContext): string {
  if (target.service === undefined) return (target.url ?? '').replace(/\/+$/, '');
  return `http://${ownServiceName(target.service.name, context)}:${target.service.port}`;
}

/** The name by which a Service of the object's own namespace is dialled. */
export function ownServiceName(
  service: string,
  { namespace, clusterDomain }: Pick<RoutingContext, 'namespace' | 'clusterDomain'>,
): string {
  return `${service}.${namespace}.${clusterDomain === undefined ? 'svc' : `svc.${clusterDomain}`}`;
}

/** A target without service and url: the sidecar's own pod. A list of such targets compiles to none. */
export function isNameless(target: TargetSpec): boolean {
  return target.service === undefined && target.url === undefined;
}
