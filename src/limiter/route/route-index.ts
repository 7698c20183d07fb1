// Limiter, route stage: host, path, model and tool of a request -> the one object that takes it and the target that
// serves it, resolved once; or unclaimed; or not found. Immutable: a change makes a new index that shares the rest.
import type { Target } from '../../contract/limiter-config.ts';
import type { RouteMatch, WireRequest } from '../decide/decision.ts';
import { believedHeaders } from '../identity/identity.ts';
import { pathBelow } from '../../lib/path.ts';
import { PersistentMap } from '../../lib/persistent-map.ts';
import type { RuntimeObject, RuntimeRule } from '../compile/runtime-object.ts';

/** What becomes of a request that no object takes is the mode's affair. */
export interface RouteOptions {
  /** sidecar: what no route claims is unclaimed (forwarded uncounted). shared: it is not found. */
  readonly mode: 'sidecar' | 'shared';
  /** Where a rule without targets leads: on a sidecar the server of its own pod. Absent: nowhere, 404. */
  readonly defaultTarget?: Target;
}

/** What routing looks at. `path` is in its normal form (path.ts). */
export type RouteRequest = Pick<WireRequest, 'method' | 'host' | 'path' | 'headers' | 'peerAddress' | 'model' | 'tool'>;

export type Resolution =
  | { readonly kind: 'matched'; readonly object: RuntimeObject; readonly match: RouteMatch }
  /** Sidecar: no object claims it; it is forwarded as it came, uncounted. */
  | { readonly kind: 'unclaimed' }
  /** `object` is the one whose response form the 404 takes, when one came near. */
  | {
      readonly kind: 'notFound';
      readonly code: 'not_found' | 'model_not_found';
      readonly object?: RuntimeObject;
    };

export type Claimed =
  | { readonly kind: 'claimed'; readonly object: RuntimeObject; readonly upstreamPath: string }
  | Exclude<Resolution, { kind: 'matched' }>;

/** A number in [0, 1). */
export type RandomSource = () => number;

type Slots = PersistentMap<readonly RuntimeObject[]>;

interface Found {
  readonly object: RuntimeObject;
  readonly rule: RuntimeRule;
  readonly below: string;
}

/** What a walk over the candidates has met so far. */
interface Walk {
  found?: Found;
  /** An object that claims the request, but none of its rules matches. */
  claimed?: RuntimeObject | undefined;
  /** An object at this host and prefix that has other models. */
  near?: RuntimeObject | undefined;
}

const ANY_MODEL = '*';
const MCP = '!';

/**
 * Routes requests. The most specific object takes a request: exact host before wildcard (longer first) before any host;
 * then the longer prefix; then, of the objects that have the model, the more specific matching rule; then the older
 * object, then its name. An object of which no rule matches leaves the request to the next; when none takes it, 404.
 */
export class RouteIndex {
  readonly #options: RouteOptions;
  readonly #slots: Slots;
  /** The most labels and segments that any object has: a request is not tried deeper. */
  readonly #depth: { readonly hostLabels: number; readonly pathSegments: number };

  private constructor(options: RouteOptions, slots: Slots, depth: { hostLabels: number; pathSegments: number }) {
    this.#options = options;
    this.#slots = slots;
    this.#depth = depth;
  }

  /** An index without objects. */
  static empty(options: RouteOptions): RouteIndex {
    return new RouteIndex(options, PersistentMap.empty(), { hostLabels: 0, pathSegments: 0 });
  }

  /** An index without `before` and with `after`; either may be absent. Costs as much as their slots have objects. */
  replacing(before: RuntimeObject | undefined, after: RuntimeObject | undefined): RouteIndex {
    let slots = this.#slots;
    for (const key of before === undefined ? [] : this.#slotKeys(before)) {
      const left = (slots.get(key) ?? []).filter(({ resourceName }) => resourceName !== before?.resourceName);
      slots = slots.with(key, left.length === 0 ? undefined : left);
    }
    if (after === undefined) return new RouteIndex(this.#options, slots, this.#depth);
    for (const key of this.#slotKeys(after)) slots = slots.with(key, inserted(slots.get(key) ?? [], after));
    return new RouteIndex(this.#options, slots, {
      hostLabels: Math.max(this.#depth.hostLabels, ...after.routing.hostnames.map((name) => name.split('.').length)),
      pathSegments: Math.max(this.#depth.pathSegments, segmentCount(this.#prefixOf(after))),
    });
  }

  /**
   * Resolves a request. Called once per request: the weighted choice of the target is part of it, and the target that
   * is named here is the one that serves.
   */
  resolve(request: RouteRequest, random: RandomSource): Resolution {
    const walk = this.#walk(request);
    return walk.found === undefined ? this.#withoutObject(walk) : this.#toTarget(walk.found, random);
  }

  /** The object that takes a request, for callers that send it on themselves: no target is chosen or asked for. */
  claim(request: RouteRequest): Claimed {
    const walk = this.#walk(request);
    if (walk.found === undefined) return this.#withoutObject(walk);
    return { kind: 'claimed', object: walk.found.object, upstreamPath: walk.found.below };
  }

  #withoutObject(walk: Walk): Exclude<Resolution, { kind: 'matched' }> {
    if (walk.claimed !== undefined) return { kind: 'notFound', code: 'not_found', object: walk.claimed };
    if (this.#options.mode === 'sidecar') return { kind: 'unclaimed' };
    if (walk.near !== undefined) return { kind: 'notFound', code: 'model_not_found', object: walk.near };
    return { kind: 'notFound', code: 'not_found' };
  }

  #walk(request: RouteRequest): Walk {
    const walk: Walk = {};
    const prefixes = prefixCandidates(request.path, this.#depth.pathSegments);
    for (const host of hostCandidates(request.host, this.#depth.hostLabels)) {
      for (const prefix of prefixes) {
        const found = this.#tryPlace(host, prefix, request, walk);
        if (found !== undefined) return { ...walk, found };
      }
    }
    return walk;
  }

  #tryPlace(host: string, prefix: string, request: RouteRequest, walk: Walk): Found | undefined {
    const at = `${host}\n${prefix}\n`;
    const below = pathBelow(prefix, request.path) ?? request.path;
    for (const kind of kindsFor(request)) {
      const claimants = kind === MCP ? this.#at(at + MCP) : this.#modelClaimants(at, host, prefix, request);
      const found = bestOf(claimants, request, below);
      if (found !== undefined) return found;
      walk.claimed ??= claimants[0];
    }
    if (request.model !== undefined) walk.near ??= this.#at(at + ANY_MODEL)[0];
    return undefined;
  }

  /**
   * The model objects at a place that claim the request: by its model, or, when it names none, by the place itself. On
   * a sidecar a place must say something for that (a host or a prefix): health checks and metrics have no model either.
   */
  #modelClaimants(at: string, host: string, prefix: string, { model }: RouteRequest): readonly RuntimeObject[] {
    if (model !== undefined) return this.#at(`${at}=${model}`);
    if (this.#options.mode === 'sidecar' && host === '' && prefix === '/') return [];
    return this.#at(at + ANY_MODEL);
  }

  #slotKeys(object: RuntimeObject): readonly string[] {
    const { kind, models, hostnames } = object.routing;
    const names = kind === 'mcp' ? [MCP] : [ANY_MODEL, ...new Set(models.map((model) => `=${model}`))];
    const places = [...new Set(hostnames)].map((host) => `${host}\n${this.#prefixOf(object)}\n`);
    return places.flatMap((place) => names.map((name) => place + name));
  }

  #prefixOf({ routing }: RuntimeObject): string {
    return routing.isDefaultPrefix && this.#options.mode === 'sidecar' ? '/' : routing.pathPrefix;
  }

  #at(slot: string): readonly RuntimeObject[] {
    return this.#slots.get(slot) ?? [];
  }

  #toTarget({ object, rule, below }: Found, random: RandomSource): Resolution {
    const target = rule.targets.length === 0 ? this.#options.defaultTarget : chooseTarget(rule.targets, random);
    if (target === undefined) return { kind: 'notFound', code: 'not_found', object };
    return { kind: 'matched', object, match: { target, ruleName: rule.name, upstreamPath: below } };
  }
}

/** A target by weight: weight 0 is never chosen; undefined when no target has a weight. */
export function chooseTarget(targets: readonly Target[], random: RandomSource): Target | undefined {
  const weighted = targets.filter(({ weight }) => weight > 0);
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0);
  let left = random() * total;
  for (const target of weighted) {
    left -= target.weight;
    if (left < 0) return target;
  }
  return weighted.at(-1);
}

/** Which kind of object is asked first at one place: a tool call is MCP, a model names a route, else MCP takes all. */
function kindsFor({ model, tool }: RouteRequest): readonly ('model' | typeof MCP)[] {
  return tool === undefined && model !== undefined ? ['model', MCP] : [MCP, 'model'];
}

function bestOf(objects: readonly RuntimeObject[], request: RouteRequest, below: string): Found | undefined {
  let best: Found | undefined;
  for (const object of objects) {
    const seen = { method: request.method, headers: believedHeaders(object, request) };
    const rule = object.routing.rules.find((candidate) => candidate.matches(seen, below));
    if (rule !== undefined && (best === undefined || isMoreSpecific(rule, best.rule))) best = { object, rule, below };
  }
  return best;
}

function isMoreSpecific(rule: RuntimeRule, other: RuntimeRule): boolean {
  for (const [index, value] of rule.specificity.entries()) {
    const difference = value - (other.specificity[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** `objects` with one more, older ones first, then by name: the order of ties. */
function inserted(objects: readonly RuntimeObject[], object: RuntimeObject): readonly RuntimeObject[] {
  let [low, high] = [0, objects.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = objects[middle];
    if (other !== undefined && compareAge(object, other) > 0) low = middle + 1;
    else high = middle;
  }
  return [...objects.slice(0, low), object, ...objects.slice(low)];
}

function compareAge(a: RuntimeObject, b: RuntimeObject): number {
  const [left, right] = [a.config.createdAt ?? '', b.config.createdAt ?? ''];
  if (left !== right) return left < right ? -1 : 1;
  return a.resourceName < b.resourceName ? -1 : 1;
}

/** The host itself, its wildcards from the longest, and '' for objects that take every host. */
function hostCandidates(host: string, mostLabels: number): readonly string[] {
  const name = host.endsWith('.') ? host.slice(0, -1) : host;
  if (name === '') return [''];
  const labels = name.split('.');
  // No longer than any object's: a host of a thousand labels costs as much as one of five.
  const known = labels.slice(1).slice(-Math.max(0, mostLabels - 1) || labels.length);
  const wildcards = known.map((_label, index) => `*.${known.slice(index).join('.')}`);
  return [name, ...wildcards, ''];
}

/** `/a/b/c` -> /a/b/c, /a/b, /a, / (no deeper than any object's prefix). */
function prefixCandidates(path: string, mostSegments: number): readonly string[] {
  const segments = path.split('/', mostSegments + 1).filter((segment) => segment !== '');
  const prefixes = ['/'];
  segments.reduce((prefix, segment) => {
    prefixes.push(`${prefix}/${segment}`);
    return `${prefix}/${segment}`;
  }, '');
  return prefixes.reverse();
}

function segmentCount(prefix: string): number {
  return prefix.split('/').filter((segment) => segment !== '').length;
}
