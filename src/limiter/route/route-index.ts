// Limiter, route stage: host, path, model and tool of a request -> the one object that takes it and the target that
// serves it, resolved once; or unclaimed; or not found. Immutable: a change makes a new index that shares the rest.
import type { Target } from '../../contract/limiter-config.ts';
import type { RouteMatch, WireRequest } from '../decide/decision.ts';
import { seenBy, unclearIn, type SeenCaller } from '../identity/identity.ts';
import { pathBelow } from '../../lib/values/path.ts';
import { PersistentMap } from '../../lib/persistent-map.ts';
import type { RuntimeObject, RuntimeRule } from '../compile/runtime-object.ts';
import { canonicalModel, EVERY_MODEL } from '../request/model-request.ts';
import { unclearText } from '../request/one-value.ts';
import { hostCandidates, prefixCandidates, segmentCount } from './candidates.ts';
import { isUnnamed, modelIn, needOf } from './route-model.ts';

/** What becomes of a request that no object takes is the mode's affair. */
export interface RouteOptions {
  /** sidecar: what no route claims is unclaimed (forwarded uncounted). shared: it is not found. */
  readonly mode: 'sidecar' | 'shared';
  /** Where a rule without targets leads: on a sidecar the server of its own pod. Absent: nowhere, 404. */
  readonly defaultTarget?: Target;
}

/** What routing looks at. `path` is in its normal form (path.ts). */
export type RouteRequest = Pick<
  WireRequest,
  'method' | 'host' | 'path' | 'headers' | 'unclear' | 'peerAddress' | 'model' | 'bodyModel' | 'modelNeed' | 'tool'
>;

export type Resolution =
  | {
      readonly kind: 'matched';
      readonly object: RuntimeObject;
      readonly match: RouteMatch;
      /** The request as the object may see it: its peer was judged to route it. */
      readonly seen: SeenCaller;
    }
  /** Sidecar: no object claims it; it is forwarded as it came, uncounted. */
  | { readonly kind: 'unclaimed' }
  /** It could be told to belong to one object or another, or to none: refused with `message`. */
  | {
      readonly kind: 'unclear';
      readonly code: 'invalid_request' | 'unauthenticated';
      readonly message: string;
      readonly object?: RuntimeObject;
    }
  /** `object` is the one whose response form the 404 takes, when one came near. */
  | {
      readonly kind: 'notFound';
      readonly code: 'not_found' | 'model_not_found';
      readonly object?: RuntimeObject;
    };

export type Claimed =
  | {
      readonly kind: 'claimed';
      readonly object: RuntimeObject;
      readonly upstreamPath: string;
      /** As in {@link RouteMatch}. */
      readonly model?: string;
    }
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
  /** The request as an object may see it, judged once per object. */
  readonly seen: (object: RuntimeObject) => SeenCaller;
  found?: Found;
  /** An object that claims the request, but none of its rules matches. */
  claimed?: RuntimeObject | undefined;
  /** An object at this host and prefix that has other models. */
  near?: RuntimeObject | undefined;
  /** Why nothing more is looked at. */
  unclear?: Extract<Resolution, { kind: 'unclear' }> | undefined;
}

/** Slots of a place: all model objects, MCP servers; `=name` and `~canonical` of a model; `=*` of every model. */
const PLACE = '*';
const MCP = '!';
const EVERY = `=${EVERY_MODEL}`;

/**
 * Routes requests. The most specific object takes a request: exact host before wildcard (longer first) before any
 * host; then the longer prefix; then an object that names the model before one that names it in another letter case
 * or without its `:latest`, before one that takes every model; of these the more specific matching rule; then the
 * older object, then its name. An object of which no rule matches leaves the request to the next; when none takes it,
 * 404.
 */
export class RouteIndex {
  readonly #options: RouteOptions;
  readonly #slots: Slots;
  readonly #extent: Extent;

  private constructor(options: RouteOptions, slots: Slots, extent: Extent) {
    this.#options = options;
    this.#slots = slots;
    this.#extent = extent;
  }

  /** An index without objects. */
  static empty(options: RouteOptions): RouteIndex {
    return new RouteIndex(options, PersistentMap.empty(), { hostLabels: 0, pathSegments: 0, modelObjects: 0 });
  }

  /** Whether any object limits models here: what no object claims is looked at only then. */
  get hasModels(): boolean {
    return this.#extent.modelObjects > 0;
  }

  /** An index without `before` and with `after`; either may be absent. Costs as much as their slots have objects. */
  replacing(before: RuntimeObject | undefined, after: RuntimeObject | undefined): RouteIndex {
    let slots = this.#slots;
    for (const key of before === undefined ? [] : this.#slotKeys(before)) {
      const left = (slots.get(key) ?? []).filter(({ resourceName }) => resourceName !== before?.resourceName);
      slots = slots.with(key, left.length === 0 ? undefined : left);
    }
    const modelObjects = this.#extent.modelObjects - modelCount(before) + modelCount(after);
    if (after === undefined) return new RouteIndex(this.#options, slots, { ...this.#extent, modelObjects });
    for (const key of this.#slotKeys(after)) slots = slots.with(key, inserted(slots.get(key) ?? [], after));
    return new RouteIndex(this.#options, slots, {
      hostLabels: Math.max(this.#extent.hostLabels, ...after.routing.hostnames.map((name) => name.split('.').length)),
      pathSegments: Math.max(this.#extent.pathSegments, segmentCount(this.#prefixOf(after))),
      modelObjects,
    });
  }

  /**
   * Resolves a request. Called once per request: the weighted choice of the target is part of it, and the target that
   * is named here is the one that serves.
   */
  resolve(request: RouteRequest, random: RandomSource): Resolution {
    const walk = this.#walk(request);
    if (walk.found === undefined) return this.#withoutObject(walk, request);
    if (isUnnamed(walk.found.object, request)) return unnamed(walk.found.object);
    return this.#toTarget(walk, walk.found, request, random);
  }

  /** The object that takes a request, for callers that send it on themselves: no target is chosen or asked for. */
  claim(request: RouteRequest): Claimed {
    const walk = this.#walk(request);
    if (walk.found === undefined) return this.#withoutObject(walk, request);
    const { object, below } = walk.found;
    if (isUnnamed(object, request)) return unnamed(object);
    return { kind: 'claimed', object, upstreamPath: below, ...modelIn(object, request) };
  }

  /** false: no object takes anything at this place, whatever a request there says. */
  mayClaim({ host, path }: Pick<RouteRequest, 'host' | 'path'>): boolean {
    return this.#hasAny([PLACE, MCP], host, path);
  }

  #withoutObject(walk: Walk, request: RouteRequest): Exclude<Resolution, { kind: 'matched' }> {
    if (walk.unclear !== undefined) return walk.unclear;
    if (walk.claimed !== undefined) return { kind: 'notFound', code: 'not_found', object: walk.claimed };
    if (this.#options.mode === 'sidecar') return this.#unclaimed(request);
    if (walk.near !== undefined) return { kind: 'notFound', code: 'model_not_found', object: walk.near };
    return { kind: 'notFound', code: 'not_found' };
  }

  /**
   * On a sidecar every model is served by the same pod: a request that could mean a limited one does not pass
   * uncounted.
   */
  #unclaimed(request: RouteRequest): Exclude<Resolution, { kind: 'matched' }> {
    const { model, bodyModel, ...rest } = request;
    if (!this.#hasAny([PLACE], request.host, request.path)) return { kind: 'unclaimed' };
    if (model === undefined) return needOf(request) === 'none' ? { kind: 'unclaimed' } : unnamed(undefined);
    const other = bodyModel === undefined ? undefined : this.#walk({ ...rest, model: bodyModel }).found;
    if (other === undefined) return { kind: 'unclaimed' };
    return unclear('the path and the body name different models: name one', other.object);
  }

  #hasAny(slots: readonly string[], host: string, path: string): boolean {
    const prefixes = prefixCandidates(path, this.#extent.pathSegments);
    return hostCandidates(host, this.#extent.hostLabels).some((name) =>
      prefixes.some((prefix) => slots.some((slot) => this.#at(`${name}\n${prefix}\n${slot}`).length > 0)),
    );
  }

  #walk(request: RouteRequest): Walk {
    const walk: Walk = { seen: seenOnce(request) };
    const prefixes = prefixCandidates(request.path, this.#extent.pathSegments);
    for (const host of hostCandidates(request.host, this.#extent.hostLabels)) {
      for (const prefix of prefixes) {
        const found = this.#tryPlace(host, prefix, request, walk);
        if (walk.unclear !== undefined) return walk;
        if (found !== undefined) return { ...walk, found };
      }
    }
    return walk;
  }

  #tryPlace(host: string, prefix: string, request: RouteRequest, walk: Walk): Found | undefined {
    const at = `${host}\n${prefix}\n`;
    const below = pathBelow(prefix, request.path) ?? request.path;
    for (const slot of this.#slotsFor(host, prefix, request)) {
      const claimants = this.#at(at + slot);
      walk.unclear ??= this.#unclearAt(slot, claimants, request, walk.seen);
      if (walk.unclear !== undefined) return undefined;
      const found = bestOf(claimants, request, below, walk.seen);
      if (found !== undefined) return found;
      walk.claimed ??= claimants[0];
    }
    if (request.model !== undefined) walk.near ??= this.#at(at + PLACE)[0];
    return undefined;
  }

  /**
   * The slots of a place that claim a request, in order: a tool call is MCP, a model names a route, else MCP takes
   * all.
   */
  #slotsFor(host: string, prefix: string, request: RouteRequest): readonly string[] {
    const { model, tool } = request;
    if (model === undefined) return [MCP, ...this.#placeSlots(host, prefix, request)];
    const models = this.#modelSlots(`${host}\n${prefix}\n`, model);
    return tool === undefined ? [...models, MCP] : [MCP, ...models];
  }

  /**
   * Another spelling of a claimed name is that name where it would pass otherwise; elsewhere it is a model not found.
   */
  #modelSlots(at: string, model: string): readonly string[] {
    const wouldPass = this.#options.mode === 'sidecar' || this.#at(at + EVERY).length > 0;
    return wouldPass ? [`=${model}`, `~${canonicalModel(model)}`, EVERY] : [`=${model}`];
  }

  /**
   * Which model objects claim a request that names no model. On a sidecar the server's default model may be any:
   * where a model runs, only objects of every model take such a request, and only if the default is meant. Where none
   * runs, an object takes what comes to its own host or prefix; health checks and metrics come to neither.
   */
  #placeSlots(host: string, prefix: string, request: RouteRequest): readonly string[] {
    const need = needOf(request);
    if (this.#options.mode === 'shared') return need === 'default' ? [EVERY, PLACE] : [PLACE];
    if (need !== 'none') return need === 'default' ? [EVERY] : [];
    return host === '' && prefix === '/' ? [] : [PLACE];
  }

  #unclearAt(
    slot: string,
    claimants: readonly RuntimeObject[],
    request: RouteRequest,
    seen: Walk['seen'],
  ): Walk['unclear'] {
    for (const object of claimants) {
      const found = unclearIn(object, request, () => seen(object));
      if (found === undefined) continue;
      return { kind: 'unclear', code: found.code, message: unclearText(found.source), object };
    }
    const isAmbiguous = slot === PLACE && claimants.length > 1 && needOf(request) !== 'none';
    return isAmbiguous ? unnamed(claimants[0]) : undefined;
  }

  #slotKeys(object: RuntimeObject): readonly string[] {
    const { kind, models, hostnames } = object.routing;
    const names = kind === 'mcp' ? [MCP] : [PLACE, ...new Set(models.flatMap(slotsOfModel))];
    const places = [...new Set(hostnames)].map((host) => `${host}\n${this.#prefixOf(object)}\n`);
    return places.flatMap((place) => names.map((name) => place + name));
  }

  #prefixOf({ routing }: RuntimeObject): string {
    return routing.isDefaultPrefix && this.#options.mode === 'sidecar' ? '/' : routing.pathPrefix;
  }

  #at(slot: string): readonly RuntimeObject[] {
    return this.#slots.get(slot) ?? [];
  }

  #toTarget({ seen }: Walk, { object, rule, below }: Found, request: RouteRequest, random: RandomSource): Resolution {
    const target = rule.targets.length === 0 ? this.#options.defaultTarget : chooseTarget(rule.targets, random);
    if (target === undefined) return { kind: 'notFound', code: 'not_found', object };
    const match = { target, ruleName: rule.name, upstreamPath: below, ...modelIn(object, request) };
    return { kind: 'matched', object, match, seen: seen(object) };
  }
}

/**
 * The most labels and segments that any object has (a request is not tried deeper), and how many objects have models.
 */
interface Extent {
  readonly hostLabels: number;
  readonly pathSegments: number;
  readonly modelObjects: number;
}

function modelCount(object: RuntimeObject | undefined): number {
  return object?.routing.kind === 'model' ? 1 : 0;
}

function slotsOfModel(model: string): readonly string[] {
  return model === EVERY_MODEL ? [EVERY] : [`=${model}`, `~${canonicalModel(model)}`];
}

function unclear(message: string, object: RuntimeObject | undefined): Extract<Resolution, { kind: 'unclear' }> {
  return { kind: 'unclear', code: 'invalid_request', message, ...(object === undefined ? {} : { object }) };
}

function unnamed(object: RuntimeObject | undefined): Extract<Resolution, { kind: 'unclear' }> {
  return unclear('the request names no model: set "model"', object);
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

/** Judges the peer of a request when an object first asks, and remembers the answer for this request. */
function seenOnce(request: RouteRequest): Walk['seen'] {
  const known = new Map<RuntimeObject, SeenCaller>();
  return (object) => {
    const before = known.get(object);
    if (before !== undefined) return before;
    const seen = seenBy(object, request);
    known.set(object, seen);
    return seen;
  };
}

function bestOf(
  objects: readonly RuntimeObject[],
  request: RouteRequest,
  below: string,
  seen: Walk['seen'],
): Found | undefined {
  let best: Found | undefined;
  for (const object of objects) {
    const visible = { method: request.method, headers: seen(object).headers };
    const rule = object.routing.rules.find((candidate) => candidate.matches(visible, below));
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
