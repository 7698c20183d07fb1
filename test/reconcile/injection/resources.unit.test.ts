// The resources of a limiter: what annotations ask for, what LimitRanges leave of it, and what is refused with the
// annotation named.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseQuantityMillis } from '../../../src/lib/values/quantity.ts';
import {
  fitted,
  overlaid,
  roomComplaint,
  wantedResources,
  type ContainerRange,
  type Resources,
} from '../../../src/reconcile/injection/resources.ts';

const CONFIG: Resources = { requests: { cpu: '50m', memory: '96Mi' }, limits: { memory: '512Mi' } };
const annotated = (values: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`weir.dev/limiter-${name}`, value]));
const wanted = (pod: Record<string, string>, namespace: Record<string, string> = {}) =>
  wantedResources(annotated(pod), { name: 'demo', annotations: annotated(namespace) });

describe('annotations', () => {
  test.each<[string, Record<string, string>, Record<string, string>, Resources]>([
    ['none', {}, {}, CONFIG],
    ['of the pod', { 'memory-limit': '300Mi' }, {}, { ...CONFIG, limits: { memory: '300Mi' } }],
    ['of the namespace', {}, { 'memory-limit': '300Mi' }, { ...CONFIG, limits: { memory: '300Mi' } }],
    [
      'of both: the pod’s',
      { 'memory-limit': '1Gi' },
      { 'memory-limit': '300Mi' },
      { ...CONFIG, limits: { memory: '1Gi' } },
    ],
    [
      'a limit of CPU, which the config has not',
      { 'cpu-limit': '1' },
      {},
      { ...CONFIG, limits: { memory: '512Mi', cpu: '1' } },
    ],
    [
      'a limit below the request of the config: the request gives way',
      { 'cpu-limit': '10m' },
      {},
      { requests: { cpu: '10m', memory: '96Mi' }, limits: { memory: '512Mi', cpu: '10m' } },
    ],
    [
      'a request above the limit of the config: the limit gives way',
      { 'memory-request': '1Gi' },
      {},
      { requests: { cpu: '50m', memory: '1Gi' }, limits: { memory: '1Gi' } },
    ],
  ])('%s', (_name, pod, namespace, resources) => {
    const asked = wanted(pod, namespace);
    if ('reason' in asked) throw new Error(asked.what ?? asked.reason);
    expect(overlaid(CONFIG, asked)).toEqual(resources);
  });

  test.each<[Record<string, string>, Record<string, string>, string]>([
    [
      { 'memory-limit': '300' },
      {},
      'annotation weir.dev/limiter-memory-limit: "300" is less than the 96Mi that a limiter needs',
    ],
    [
      { 'memory-limit': 'lots' },
      {},
      'annotation weir.dev/limiter-memory-limit: "lots" is not a quantity above 0, such as 256Mi',
    ],
    [
      { 'cpu-request': '-1' },
      {},
      'annotation weir.dev/limiter-cpu-request: "-1" is not a quantity above 0, such as 250m',
    ],
    [{ 'cpu-limit': '0' }, {}, 'annotation weir.dev/limiter-cpu-limit: "0" is not a quantity above 0, such as 250m'],
    [
      { 'memory-request': '' },
      {},
      'annotation weir.dev/limiter-memory-request: "" is not a quantity above 0, such as 256Mi',
    ],
    [
      {},
      { 'cpu-limit': 'x' },
      'annotation weir.dev/limiter-cpu-limit of namespace demo: "x" is not a quantity above 0, such as 250m',
    ],
    [
      { 'cpu-request': '2' },
      { 'cpu-limit': '1' },
      'annotation weir.dev/limiter-cpu-request: "2" is above weir.dev/limiter-cpu-limit of namespace demo: "1"',
    ],
  ])('%j, %j are refused', (pod, namespace, what) => {
    expect(wanted(pod, namespace)).toEqual({ reason: 'WrongAnnotation', what });
  });
});

describe('a LimitRange', () => {
  const range = (more: Omit<ContainerRange, 'name'>): ContainerRange => ({ name: 'small', ...more });

  test.each<[string, Resources, ContainerRange[], Resources, string[]]>([
    ['that admits it changes nothing', CONFIG, [range({ max: { memory: '1Gi' } })], CONFIG, []],
    [
      'of at most 300Mi',
      CONFIG,
      [range({ max: { memory: '300Mi' } })],
      { ...CONFIG, limits: { memory: '300Mi' } },
      ['memory limit 300Mi instead of 512Mi (LimitRange small)'],
    ],
    [
      'of less than the request',
      CONFIG,
      [range({ max: { memory: '80Mi' } })],
      { requests: { cpu: '50m', memory: '80Mi' }, limits: { memory: '80Mi' } },
      [
        'memory request 80Mi instead of 96Mi (LimitRange small)',
        'memory limit 80Mi instead of 512Mi (LimitRange small)',
      ],
    ],
    [
      'with a maximum of CPU demands a limit: its default, else the maximum',
      CONFIG,
      [range({ max: { cpu: '2' }, default: { cpu: '500m' } }), range({ name: 'second', max: { cpu: '1' } } as never)],
      { ...CONFIG, limits: { memory: '512Mi', cpu: '500m' } },
      ['cpu limit 500m (LimitRange small)'],
    ],
    [
      'with a minimum',
      CONFIG,
      [range({ min: { cpu: '100m', memory: '600Mi' } })],
      { requests: { cpu: '100m', memory: '600Mi' }, limits: { memory: '600Mi' } },
      [
        'cpu request 100m instead of 50m (LimitRange small)',
        'memory request 600Mi instead of 96Mi (LimitRange small)',
        'memory limit 600Mi instead of 512Mi (LimitRange small)',
      ],
    ],
    [
      'with a ratio of limit to request',
      CONFIG,
      [range({ maxLimitRequestRatio: { memory: '2' } })],
      { ...CONFIG, requests: { cpu: '50m', memory: '268435456' } },
      ['memory request 268435456 instead of 96Mi (LimitRange small)'],
    ],
    [
      'of resources that nobody has',
      {},
      [range({ max: { memory: '300Mi' } })],
      { limits: { memory: '300Mi' } },
      ['memory limit 300Mi (LimitRange small)'],
    ],
  ])('%s', (_name, resources, ranges, expected, changes) => {
    expect(fitted(resources, ranges)).toEqual({ resources: expected, changes });
  });

  test('that leaves too little is told by name', () => {
    const ranges = [range({ max: { memory: '32Mi' } })];
    expect(roomComplaint(fitted(CONFIG, ranges).resources, ranges)).toBe(
      'LimitRange small allows a container 32Mi of memory, and the limiter needs 96Mi',
    );
    expect(roomComplaint(CONFIG, [])).toBeUndefined();
    expect(roomComplaint({}, [])).toBeUndefined();
  });

  test('is kept, whatever it says, when it contradicts neither itself nor another', () => {
    const mebi = fc.integer({ min: 1, max: 2048 }).map((count) => `${count}Mi`);
    const millis = fc.integer({ min: 1, max: 4000 }).map((count) => `${count}m`);
    const sides = (values: fc.Arbitrary<string>) =>
      fc.record({
        request: fc.option(values),
        limit: fc.option(values),
        max: fc.option(values),
        min: fc.option(values),
      });
    const ratio = fc.option(fc.integer({ min: 1, max: 10 }).map(String));
    fc.assert(
      fc.property(sides(mebi), sides(millis), ratio, (memory, cpu, most) => {
        for (const { min, max } of [memory, cpu]) if (min !== null && max !== null) fc.pre(of(min) <= of(max));
        for (const { request, limit } of [memory, cpu])
          if (request !== null && limit !== null) fc.pre(of(request) <= of(limit));
        const pick = (name: 'request' | 'limit' | 'max' | 'min') =>
          Object.fromEntries(
            Object.entries({ memory: memory[name], cpu: cpu[name] }).filter(([, value]) => value !== null),
          ) as Record<string, string>;
        const one = range({
          max: pick('max'),
          min: pick('min'),
          ...(most === null ? {} : { maxLimitRequestRatio: { memory: most } }),
        });
        const { resources } = fitted({ requests: pick('request'), limits: pick('limit') }, [one]);
        expect(refusals(resources, one)).toEqual([]);
        expect(fitted(resources, [one]).changes).toEqual([]);
      }),
    );
  });
});

const of = (value: string | number): bigint => parseQuantityMillis(String(value))!;

/** As the admission plugin LimitRanger judges a container, and the API server. */
function refusals(resources: Resources, range: ContainerRange): string[] {
  return [
    ...judged(range.max, resources, tooMuch),
    ...judged(range.min, resources, tooLittle),
    ...judged(range.maxLimitRequestRatio, resources, tooFarApart),
    ...judged(resources.requests, resources, crossed),
  ];
}

type Judge = (bound: bigint, request: bigint | undefined, limit: bigint | undefined) => boolean;

const tooMuch: Judge = (max, request = 0n, limit) => limit === undefined || limit > max || request > max;
const tooLittle: Judge = (min, request, limit = min) => request === undefined || request < min || limit < min;
/** One that has neither is not looked at: the config of a limiter has a request. */
const tooFarApart: Judge = (ratio, request, limit) => {
  if (request === undefined || limit === undefined) return request !== limit;
  return limit * 1000n > request * ratio;
};
const crossed: Judge = (request, _same, limit = request) => request > limit;

function judged(
  bounds: Resources['limits'] = {},
  { requests = {}, limits = {} }: Resources,
  isRefused: Judge,
): string[] {
  const valueOf = (value: string | number | undefined): bigint | undefined =>
    value === undefined ? undefined : of(value);
  return Object.entries(bounds)
    .filter(([name, bound]) => isRefused(of(bound), valueOf(requests[name]), valueOf(limits[name])))
    .map(([name]) => `${name}: ${isRefused.name}`);
}
