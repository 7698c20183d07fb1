// Reconcile, precedence: which of several objects that want the same requests gets them. Input: an object and its
// rivals; output: the form of it that may be in force, and who stands in the way of the others.
import { type LimiterConfig, type RouteRule, resourceName } from '../contract/limiter-config.ts';
import { canonicalJson } from '../contract/snapshot.ts';
import type { WorkloadSelector } from '../crd/types.ts';
import { type Form, formsOf, refOf } from './form.ts';
import type { Problem } from './problems.ts';
import type { LastGood, ObjectAsRead, ReconcileSettings, Rival, World } from './types.ts';

/** What an object may have in force. */
export interface Standing {
  /** Absent: nothing. */
  readonly inForce?: Form;
  /** Why the present form is not in force though nothing is wrong with it by itself. */
  readonly conflict?: Problem;
}

/**
 * The keys under which an object is looked up by its rivals: two objects can only conflict when they share one.
 * Covers the last good form too. An object that cannot be read has none.
 */
export function conflictKeys(
  object: ObjectAsRead,
  lastGood: LastGood | undefined,
  settings: ReconcileSettings,
): string[] {
  return [...new Set(formsOf(object, lastGood, settings).flatMap(keysOf))];
}

/** What of a form says which requests it takes, and where. */
export type Contender = Pick<Form, 'config' | 'workloadSelector'>;

/** The keys of one form. */
export function keysOf(form: Contender): string[] {
  return form.config === undefined ? [] : [...sharedKeys(form.config), ...sidecarKeys(form.config, form)];
}

/**
 * Decides by age: the older object wins, then the one whose name comes first (standalone manifests have no age). A
 * rival that is itself not in force stands in nobody's way. Each rival is decided once, oldest first.
 */
export function standingOf(
  object: ObjectAsRead,
  lastGood: LastGood | undefined,
  world: Pick<World, 'settings' | 'rivalsOf'>,
): Standing {
  return new Contest(world).decide({ object, ...(lastGood === undefined ? {} : { lastGood }) });
}

class Contest {
  readonly #world: Pick<World, 'settings' | 'rivalsOf'>;
  readonly #decided = new Map<string, Standing>();

  constructor(world: Pick<World, 'settings' | 'rivalsOf'>) {
    this.#world = world;
  }

  /** Ends: it only ever asks about objects that come before. */
  decide(rival: Rival): Standing {
    const name = resourceName(refOf(rival.object));
    const known = this.#decided.get(name);
    if (known !== undefined) return known;
    const standing = this.#weigh(rival);
    this.#decided.set(name, standing);
    return standing;
  }

  #weigh({ object, lastGood }: Rival): Standing {
    let conflict: Problem | undefined;
    for (const [index, form] of formsOf(object, lastGood, this.#world.settings).entries()) {
      if (form.problems.length > 0) continue;
      const winner = this.#winnerOver(object, form);
      if (winner === undefined) return { inForce: form, ...(conflict === undefined ? {} : { conflict }) };
      if (index === 0) conflict = describe(object, winner);
    }
    return conflict === undefined ? {} : { conflict };
  }

  /** Only rivals of which some form conflicts are decided: most that share a key are told apart by their selectors. */
  #winnerOver(object: ObjectAsRead, form: Form): ObjectAsRead | undefined {
    return this.#world
      .rivalsOf(keysOf(form))
      .filter((rival) => precedes(rival.object, object) && isAffected(rival, undefined, form, this.#world.settings))
      .sort((a, b) => (precedes(a.object, b.object) ? -1 : 1))
      .find((rival) => {
        const { inForce } = this.decide(rival);
        return inForce !== undefined && conflicts(inForce, form);
      })?.object;
  }
}

/** Whether it makes a difference to some form of an object that another holds `after` in place of `before`. */
export function isAffected(
  { object, lastGood }: Rival,
  before: Contender | undefined,
  after: Contender | undefined,
  settings: ReconcileSettings,
): boolean {
  const meets = (form: Form, claim: Contender | undefined): boolean => claim !== undefined && conflicts(form, claim);
  return formsOf(object, lastGood, settings).some((form) => meets(form, before) !== meets(form, after));
}

/** Older first, then by name, then by namespace; never both ways. */
export function precedes(a: ObjectAsRead, b: ObjectAsRead): boolean {
  const [left, right] = [orderOf(a), orderOf(b)];
  for (const [index, own] of left.entries()) {
    const other = right[index] ?? own;
    if (own !== other) return own < other;
  }
  return false;
}

function orderOf({ kind, metadata }: ObjectAsRead): (string | number)[] {
  const bornAtMs = Date.parse(metadata.creationTimestamp ?? '');
  return [Number.isNaN(bornAtMs) ? Infinity : bornAtMs, metadata.name, metadata.namespace ?? '', kind];
}

/** Where two objects meet they conflict when no request could be told to belong to one rather than the other. */
function conflicts(a: Contender, b: Contender): boolean {
  if (a.config === undefined || b.config === undefined) return false;
  if (a.workloadSelector !== undefined && b.workloadSelector !== undefined) {
    return (
      overlap(a.workloadSelector, b.workloadSelector) && intersect(sidecarKeys(a.config, a), sidecarKeys(b.config, b))
    );
  }
  return meetOnShared(a, b) && intersect(sharedKeys(a.config), sharedKeys(b.config));
}

/**
 * Objects that both belong to pods meet on pods. Otherwise objects meet on shared limiters: but nobody in another
 * namespace can take an object away from the pods that it belongs to.
 */
function meetOnShared(a: Contender, b: Contender): boolean {
  const noPods = a.workloadSelector === undefined && b.workloadSelector === undefined;
  return noPods || a.config?.namespace === b.config?.namespace;
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

/** The keys of a config, as long as somebody holds it: rivals are compared again and again. */
const keysByPlace = { shared: new WeakMap<LimiterConfig, string[]>(), sidecar: new WeakMap<LimiterConfig, string[]>() };

function sharedKeys(config: LimiterConfig): string[] {
  const known = keysByPlace.shared.get(config);
  const keys = known ?? requestKeys(config, config.routing.pathPrefix).map((key) => `shared ${key}`);
  keysByPlace.shared.set(config, keys);
  return keys;
}

function sidecarKeys(config: LimiterConfig, form: Contender): string[] {
  if (form.workloadSelector === undefined) return [];
  const prefix = config.routing.isDefaultPrefix === true ? '/' : config.routing.pathPrefix;
  const known = keysByPlace.sidecar.get(config);
  const keys = known ?? requestKeys(config, prefix).map((key) => `sidecar ${config.namespace} ${key}`);
  keysByPlace.sidecar.set(config, keys);
  return keys;
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

function describe(object: ObjectAsRead, winner: ObjectAsRead): Problem {
  const { kind, namespace, name } = refOf(winner);
  const isOlder = orderOf(winner)[0] !== orderOf(object)[0];
  return {
    reason: 'Conflicted',
    message:
      `conflicts with ${kind} ${namespace}/${name}, which takes the same requests and ` +
      `${isOlder ? 'is older' : 'comes first by name'}; this object takes effect when that one is removed`,
  };
}
