// Reconcile, injection: the resources of the limiter. Input: those of the injection config, annotations of the pod
// and of its namespace, the LimitRanges of the namespace. Output: resources that the namespace admits, or why there
// are none. Pure.
import { formatQuantityMillis, parseQuantityMillis } from '../../lib/values/quantity.ts';
import { RESOURCE_ANNOTATIONS } from './names.ts';
import type { Skip } from './skips.ts';

type Quantities = Readonly<Record<string, string | number>>;
type Side = 'requests' | 'limits';

/** As in a container. */
export interface Resources {
  readonly requests?: Quantities;
  readonly limits?: Quantities;
}

/** What one container may have and must have, of a LimitRange of the namespace. */
export interface ContainerRange {
  /** Of the LimitRange. */
  readonly name: string;
  readonly max?: Quantities;
  readonly min?: Quantities;
  readonly default?: Quantities;
  readonly maxLimitRequestRatio?: Quantities;
}

type Annotations = Readonly<Record<string, string>>;

/** A resource that an annotation asks for. */
interface Wish {
  readonly annotation: string;
  /** '' for the pod's own. */
  readonly where: string;
  readonly side: Side;
  readonly resource: string;
  readonly value: string;
}

/** With less a limiter does not start. */
const LEAST_MEMORY = '96Mi';
const LEAST_MILLIS = parseQuantityMillis(LEAST_MEMORY) ?? 0n;

/**
 * The resources that annotations ask for; the pod's win over its namespace's. A value that is none is a reason to
 * skip the pod.
 */
export function wantedResources(
  pod: Annotations,
  namespace: { name: string; annotations: Annotations },
): Resources | Skip {
  const wishes = RESOURCE_ANNOTATIONS.flatMap(({ annotation, side, resource }): Wish[] => {
    const own = pod[annotation];
    const value = own ?? namespace.annotations[annotation];
    const where = own === undefined ? ` of namespace ${namespace.name}` : '';
    return value === undefined ? [] : [{ annotation, where, side, resource, value }];
  });
  const complaint = wishes.map(complaintAbout).find((text) => text !== undefined) ?? crossed(wishes);
  if (complaint !== undefined) return { reason: 'WrongAnnotation', what: complaint };
  const of = (side: Side): Quantities =>
    Object.fromEntries(wishes.filter((wish) => wish.side === side).map(({ resource, value }) => [resource, value]));
  return { requests: of('requests'), limits: of('limits') };
}

function complaintAbout({ annotation, where, side, resource, value }: Wish): string | undefined {
  const millis = parseQuantityMillis(value);
  const which = `annotation ${annotation}${where}: "${value.slice(0, 40)}"`;
  if (millis === undefined || millis === 0n)
    return `${which} is not a quantity above 0, such as ${resource === 'cpu' ? '250m' : '256Mi'}`;
  const isTooLittle = resource === 'memory' && side === 'limits' && millis < LEAST_MILLIS;
  return isTooLittle ? `${which} is less than the ${LEAST_MEMORY} that a limiter needs` : undefined;
}

/** The API server refuses a pod whose request is above its limit. */
function crossed(wishes: readonly Wish[]): string | undefined {
  for (const request of wishes.filter(({ side }) => side === 'requests')) {
    const limit = wishes.find(({ side, resource }) => side === 'limits' && resource === request.resource);
    if (limit === undefined || millisOf(request.value) <= millisOf(limit.value)) continue;
    return `annotation ${request.annotation}${request.where}: "${request.value}" is above ${limit.annotation}${limit.where}: "${limit.value}"`;
  }
  return undefined;
}

/** The config's resources with what annotations ask for; where only one side is asked for the other one gives way. */
export function overlaid(config: Resources, wanted: Resources): Resources {
  let { requests = {}, limits = {} } = config;
  requests = { ...requests, ...wanted.requests };
  limits = { ...limits, ...wanted.limits };
  for (const resource of namesIn(wanted.requests, wanted.limits)) {
    const [request, limit] = [requests[resource], limits[resource]];
    if (request === undefined || limit === undefined || millisOf(request) <= millisOf(limit)) continue;
    if (wanted.limits?.[resource] === undefined) limits = { ...limits, [resource]: request };
    else requests = { ...requests, [resource]: limit };
  }
  return compact({ requests, limits });
}

/** What a range left of what was asked for. */
export interface Fitted {
  readonly resources: Resources;
  /** `memory limit 300Mi instead of 512Mi (LimitRange small)`. */
  readonly changes: readonly string[];
}

/** The nearest resources that every range admits. A limit that a range demands and nobody set is the range's own. */
export function fitted(resources: Resources, ranges: readonly ContainerRange[]): Fitted {
  let now = resources;
  const changes: string[] = [];
  for (const range of ranges) {
    for (const resource of namesIn(range.max, range.min, range.maxLimitRequestRatio)) {
      const next = fitOne(now, range, resource);
      for (const side of ['requests', 'limits'] as const) {
        const [before, after] = [now[side]?.[resource], next[side]?.[resource]];
        if (after !== undefined && after !== before) changes.push(changeText(resource, side, before, after, range));
      }
      now = next;
    }
  }
  return { resources: compact(now), changes };
}

function fitOne(resources: Resources, range: ContainerRange, resource: string): Resources {
  const { requests = {}, limits = {} } = resources;
  const [max, min] = [range.max?.[resource], range.min?.[resource]];
  const bounded = least(limits[resource] ?? demandedLimit(range, resource, requests[resource] ?? min), max);
  const request = most(least(requests[resource] ?? min, bounded), min);
  const limit = bounded === undefined ? undefined : most(bounded, request);
  const raised = raisedTo(request, limit, range.maxLimitRequestRatio?.[resource]);
  return { requests: withQuantity(requests, resource, raised), limits: withQuantity(limits, resource, limit) };
}

/** A range with a maximum, or with a ratio of limit to request, refuses a container without a limit. */
function demandedLimit(range: ContainerRange, resource: string, request: Quantity): Quantity {
  const [max, ratio] = [range.max?.[resource], range.maxLimitRequestRatio?.[resource]];
  if (max === undefined && ratio === undefined) return undefined;
  const most = range.default?.[resource] ?? max;
  if (most !== undefined || ratio === undefined || request === undefined) return most;
  return formatQuantityMillis((millisOf(request) * millisOf(ratio)) / 1000n);
}

function withQuantity(list: Quantities, resource: string, value: Quantity): Quantities {
  return value === undefined ? list : { ...list, [resource]: value };
}

type Quantity = string | number | undefined;

/** No limit may be more than `ratio` times its request. */
function raisedTo(request: Quantity, limit: Quantity, ratio: Quantity): Quantity {
  if (ratio === undefined || limit === undefined) return request;
  const ratioMillis = millisOf(ratio);
  if (ratioMillis === 0n) return request;
  const needed = (millisOf(limit) * 1000n + ratioMillis - 1n) / ratioMillis;
  return request === undefined || millisOf(request) < needed ? formatQuantityMillis(needed) : request;
}

function least(value: Quantity, bound: Quantity): Quantity {
  return value === undefined || bound === undefined || millisOf(value) <= millisOf(bound) ? value : bound;
}

function most(value: Quantity, bound: Quantity): Quantity {
  return value === undefined || bound === undefined || millisOf(value) >= millisOf(bound) ? value : bound;
}

/** undefined: the ranges leave enough memory for a limiter. */
export function roomComplaint({ limits = {} }: Resources, ranges: readonly ContainerRange[]): string | undefined {
  const { memory } = limits;
  const names = ranges.filter(({ max }) => max?.['memory'] !== undefined).map(({ name }) => name);
  if (names.length === 0 || memory === undefined || millisOf(memory) >= LEAST_MILLIS) return undefined;
  return `LimitRange ${names.join(', ')} allows a container ${memory} of memory, and the limiter needs ${LEAST_MEMORY}`;
}

function changeText(
  resource: string,
  side: Side,
  before: Quantity,
  after: string | number,
  range: ContainerRange,
): string {
  const instead = before === undefined ? '' : ` instead of ${before}`;
  return `${resource} ${side === 'limits' ? 'limit' : 'request'} ${after}${instead} (LimitRange ${range.name})`;
}

function namesIn(...lists: readonly (Quantities | undefined)[]): string[] {
  return [...new Set(lists.flatMap((list) => Object.keys(list ?? {})))];
}

/** What cannot be read counts as nothing: the API server judges it. */
function millisOf(value: string | number): bigint {
  return parseQuantityMillis(String(value)) ?? 0n;
}

function compact({ requests = {}, limits = {} }: Resources): Resources {
  return {
    ...(Object.keys(requests).length === 0 ? {} : { requests }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  };
}
