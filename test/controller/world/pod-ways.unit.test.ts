// The ways into injected pods that Services, EndpointSlices and ports of the node make: which of them meet the
// limiter, and which pods are reached past it alone.
import { beforeEach, expect, test } from '@jest/globals';
import type { Pod, Service } from '../../../src/controller/kube/kube-types.ts';
import { trimEndpointSlice } from '../../../src/controller/world/endpoint-index.ts';
import { trimService } from '../../../src/controller/world/object-references.ts';
import { inject } from '../../../src/reconcile/injection/inject.ts';
import type { InjectablePod } from '../../../src/reconcile/injection/pod.ts';
import type { LimiterTally } from '../../../src/reconcile/types.ts';
import { LABELLED, patchedBy, settingsWith } from '../../reconcile/injection/patched.ts';
import { pod, TallyRig } from '../loop/tally-rig.ts';

let pods: TallyRig['pods'];
let services: TallyRig['services'];
let slices: TallyRig['slices'];
let tally: () => LimiterTally;

beforeEach(() => {
  const rig = new TallyRig();
  ({ pods, services, slices } = rig);
  tally = () => rig.tally();
});

interface Shape {
  readonly annotations?: Record<string, string>;
  readonly ports?: readonly object[];
  readonly more?: Partial<Pod>;
}
/** As the webhook makes it. */
const injectedPod = (name: string, shape: Shape = {}): Pod => {
  const { annotations = {}, ports = [{ name: 'http', containerPort: 8000 }], more = {} } = shape;
  const { metadata } = pod(name, { injected: false });
  const plain = { metadata: { ...metadata, annotations }, spec: { containers: [{ name: 'main', ports }] } };
  const outcome = inject(plain as unknown as InjectablePod, LABELLED, settingsWith(), 'token');
  if (outcome.kind !== 'injected') throw new Error(outcome.kind);
  const made = patchedBy(outcome.patch, plain as unknown as InjectablePod) as unknown as Pod;
  const address = `10.1.0.${name.charCodeAt(0)}`;
  return { ...made, status: { phase: 'Running', podIPs: [{ ip: address }] }, ...more };
};
const REDIRECT: Shape = { annotations: { 'weir.dev/redirect': 'true' } };
/** As an injector before hostPort was moved left it. */
const withHostPort = (name: string, target: number): Pod => {
  const made = injectedPod(name);
  const [main, ...others] = made.spec!.containers;
  const ports = [...(main!.ports ?? []), { containerPort: target, hostPort: 80 }];
  return { ...made, spec: { ...made.spec!, containers: [{ ...main!, ports }, ...others] } };
};
const put = (name: string, port: object | object[], spec: object = {}): string => {
  const ports = Array.isArray(port) ? (port as object[]) : [port];
  const whole = { selector: { app: 'web' }, clusterIP: '10.0.0.9', ports, ...spec } as Service['spec'];
  services.set(`a/${name}`, trimService({ metadata: { namespace: 'a', name }, spec: whole! }));
  return name;
};
const putSlice = (name: string, address: string, port: number, more: object = {}): string => {
  const metadata = { namespace: 'a', name, labels: { 'kubernetes.io/service-name': 'by-hand' } };
  const slice = { metadata, endpoints: [{ addresses: [address] }], ports: [{ port }], ...more };
  slices.set(`a/${name}`, trimEndpointSlice(slice));
  return name;
};
const seen = (): string[] =>
  tally().bypasses.map(({ via, name, port, target, pods: count }) => `${via} ${name}:${port} > ${target} of ${count}`);

test('that targets the number of their port goes past the limiters, by name or another port it does not', () => {
  pods.put(injectedPod('x'));
  pods.put(injectedPod('y'));
  put('named', { port: 80, targetPort: 'http' });
  put('limiter', { port: 80, targetPort: 18080 });
  put('metrics', { port: 9000 });
  put('udp', { port: 8000, protocol: 'UDP' });
  put('manual', { port: 8000 }, { selector: undefined });
  put('other', { port: 8000 }, { selector: { app: 'db' } });
  put('narrower', { port: 8000 }, { selector: { app: 'web', tier: 'x' } });
  put('alias', { port: 8000 }, { type: 'ExternalName' });
  expect(seen()).toEqual([]);
  put('numbered', { port: 80, targetPort: 8000 });
  put('same', { port: 8000 });
  expect(seen()).toEqual(['Service numbered:80 > 8000 of 2', 'Service same:8000 > 8000 of 2']);
  // The named Service leads to the limiters all the same.
  expect(tally().bypassedPods).toEqual([]);
  put('numbered', { port: 80, targetPort: 'http' });
  services.set('a/same', undefined);
  expect(seen()).toEqual([]);
});

const cases: readonly (readonly [string, () => unknown, readonly string[], 'all' | 'some'])[] = [
  ['none that is known', () => undefined, [], 'some'],
  ['by name', () => put('s', { port: 80, targetPort: 'http' }), [], 'some'],
  ['by number', () => put('s', { port: 80, targetPort: 8000 }), ['Service s:80 > 8000 of 1'], 'all'],
  ['without a targetPort', () => put('s', { port: 8000 }), ['Service s:8000 > 8000 of 1'], 'all'],
  ['by number, NodePort', () => put('s', { port: 8000 }, { type: 'NodePort' }), ['Service s:8000 > 8000 of 1'], 'all'],
  [
    'by number and to its metrics',
    () => put('s', [{ port: 80, targetPort: 8000 }, { port: 9090 }]),
    ['Service s:80 > 8000 of 1', 'Service s:9090 > 9090 of 1'],
    'all',
  ],
  [
    'one port of a Service by name, one by number',
    () => put('s', [{ port: 80, targetPort: 'http' }, { port: 8000 }]),
    ['Service s:8000 > 8000 of 1'],
    'some',
  ],
  ['by a name that it does not have', () => put('s', { port: 80, targetPort: 'grpc' }), [], 'some'],
  ['by a name of Object.prototype', () => put('s', { port: 80, targetPort: 'constructor' }), [], 'some'],
  ['to another port alone', () => put('s', { port: 9090 }), ['Service s:9090 > 9090 of 1'], 'all'],
  ['to the limiter by its number', () => put('s', { port: 80, targetPort: 18080 }), [], 'some'],
  [
    'headless, the port of the server',
    () => put('s', { port: 8000, targetPort: 'http' }, { clusterIP: 'None' }),
    ['HeadlessService s:8000 > 8000 of 1'],
    'all',
  ],
  ['headless, another port', () => put('s', { port: 80, targetPort: 8000 }, { clusterIP: 'None' }), [], 'some'],
  ['headless, by SRV record', () => put('s', { port: 80, targetPort: 'http' }, { clusterIP: 'None' }), [], 'some'],
  [
    'endpoints that someone wrote',
    () => putSlice('s', '10.1.0.120', 8000),
    ['EndpointSlice by-hand:8000 > 8000 of 1'],
    'all',
  ],
  ['endpoints of another address', () => putSlice('s', '10.1.0.99', 8000), [], 'some'],
  ['endpoints of the limiter', () => putSlice('s', '10.1.0.120', 18080), [], 'some'],
  ['endpoints without ports', () => putSlice('s', '10.1.0.120', 1, { ports: null }), [], 'some'],
  ['a slice without endpoints', () => putSlice('s', '10.1.0.120', 8000, { endpoints: null }), [], 'some'],
];

test.each(cases)('%s', (_name, make, expected, isAll) => {
  pods.put(injectedPod('x'));
  make();
  expect(seen()).toEqual(expected);
  expect(tally().bypassedPods).toEqual(isAll === 'all' ? ['x'] : []);
});

test.each([
  ['by number', () => put('s', { port: 80, targetPort: 8000 }), []],
  ['headless', () => put('s', { port: 8000 }, { clusterIP: 'None' }), []],
  ['endpoints that someone wrote', () => putSlice('s', '10.1.0.120', 8000), []],
  ['to another port alone', () => put('s', { port: 9090 }), []],
  ['to the port of the probes', () => put('s', { port: 80, targetPort: 18091 }), ['Service s:80 > 18091 of 1']],
])('%s, to a pod that redirects', (_name, make, expected) => {
  pods.put(injectedPod('x', REDIRECT));
  make();
  expect(seen()).toEqual(expected);
  expect(tally().bypassedPods).toEqual(expected.length === 0 ? [] : ['x']);
});

test('a port of the node: moved to the limiter, left to the server, of another port, redirected', () => {
  const hostPort = { name: 'http', containerPort: 8000, hostPort: 80 };
  pods.put(injectedPod('a', { ports: [hostPort] }));
  pods.put(withHostPort('b', 8000));
  pods.put(injectedPod('c', { ...REDIRECT, ports: [hostPort] }));
  expect(seen()).toEqual(['HostPort :80 > 8000 of 1']);
  expect(tally().bypassedPods).toEqual(['b']);
  put('s', { port: 80, targetPort: 'http' });
  expect([seen(), tally().bypassedPods]).toEqual([['HostPort :80 > 8000 of 1'], []]);
});

test('a name that a later container has again leads where the endpoint controller looks first: to the ordinary container', () => {
  const made = injectedPod('x');
  const late = { name: 'late', ports: [{ name: 'http', containerPort: 8000 }] };
  pods.put({ ...made, spec: { ...made.spec!, containers: [...made.spec!.containers, late] } });
  put('s', { port: 80, targetPort: 'http' });
  expect([seen(), tally().bypassedPods]).toEqual([['Service s:80 > 8000 of 1'], ['x']]);
});

test('one pod of two is passed by: each pod is looked at by itself', () => {
  pods.put(injectedPod('x'));
  pods.put(injectedPod('y', { annotations: { 'weir.dev/port': '9000', 'weir.dev/redirect': 'true' } }));
  put('s', { port: 80, targetPort: 8000 });
  expect(tally().bypassedPods).toEqual(['x']);
});

test('counts until the pod is gone: one that is ending still answers', () => {
  pods.put(injectedPod('x'));
  put('s', { port: 8000 });
  const { metadata } = injectedPod('x');
  pods.put(injectedPod('x', { more: { metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } } }));
  expect(tally()).toMatchObject({ desired: 0, bypassedPods: ['x'], bypasses: [{ name: 's', pods: 1 }] });
  const status = { phase: 'Succeeded' };
  pods.put(
    injectedPod('x', { more: { metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' }, status } }),
  );
  expect(tally()).toMatchObject({ bypassedPods: [], bypasses: [] });
});

test('what a pod says of itself by annotations and a member of its own counts for nothing', () => {
  const plain = pod('y');
  const facts = { entry: { port: 8000, names: [], redirect: false, byName: {}, hostPorts: [], addresses: [] } };
  const annotations = { ...plain.metadata.annotations, 'weir.dev/unguarded-port': '8000' };
  pods.put({ ...plain, metadata: { ...plain.metadata, annotations }, facts });
  put('numbered', { port: 80, targetPort: 8000 });
  expect(seen()).toEqual([]);
});
