// One stream, without the wire: what is sent, what is not sent again, what counts as acknowledged.
import { beforeEach, describe, expect, test } from '@jest/globals';
import { formatRejections, type DeltaDiscoveryResponse, type Rejection } from '../../../src/contract/push-protocol.ts';
import { AckTable } from '../../../src/controller/push/ack-table.ts';
import { PushSession } from '../../../src/controller/push/push-session.ts';
import { SnapshotStore } from '../../../src/controller/push/snapshot-store.ts';
import type { LimiterView } from '../../../src/controller/push/visibility.ts';
import { FLEET_RESOURCE_NAME } from '../../../src/contract/limiter-config.ts';
import { toVersioned } from '../../../src/contract/snapshot.ts';
import { sampleResource } from '../../contract/sample-config.ts';

const SHARED: LimiterView = { kind: 'shared', namespaces: 'all' };
const podView = (labels: Record<string, string>): LimiterView => ({
  kind: 'pod',
  pod: { namespace: 'a', name: 'p', uid: 'u', labels },
});

let store: SnapshotStore;
let table: AckTable;
let responses: DeltaDiscoveryResponse[];

beforeEach(() => {
  store = new SnapshotStore();
  table = new AckTable((view) => store.namesSeenBy(view));
  responses = [];
});

function open(view: LimiterView = SHARED, held: Record<string, string> = {}, maxResponseBytes = 1 << 20): PushSession {
  const known = new Map(Object.entries(held));
  const acks = table.connect('l1', view, new Map([...known].filter(([name]) => store.isSeenBy(view, name))));
  const send = (response: DeltaDiscoveryResponse): void => void responses.push(response);
  const session = new PushSession(view, known, { store, acks, send, maxResponseBytes });
  session.start();
  return session;
}

function last(): DeltaDiscoveryResponse {
  return responses.at(-1)!;
}

function put(name: string, burst: number, padding = ''): string {
  const resource = sampleResource('a', name, burst, padding);
  store.set(resource, { namespace: 'a' });
  return resource.version;
}

const named = (name: string): string => `ModelRoute/a/${name}`;
const ack = (session: PushSession): void => {
  session.answer({ response_nonce: last().nonce });
};
const nack = (session: PushSession, text: string): void => {
  session.answer({ response_nonce: last().nonce, error_detail: { code: 3, message: text } });
};
const words = (name: string, version: string, message = 'no'): Rejection => ({ name: named(name), version, message });
const sentNames = (): string[] => last().resources.map(({ name }) => name);
const stateOf = (name: string) => table.statesOf(named(name))[0];

describe('the first response', () => {
  test('is sent also when there is nothing to send', () => {
    open();
    expect(responses).toHaveLength(1);
    expect(last()).toMatchObject({ resources: [], removed_resources: [], system_version_info: '' });
  });

  test('has only what differs from what the limiter brought along, and removes what it must not have', () => {
    const same = put('same', 1);
    put('other', 2);
    open(SHARED, { [named('same')]: same, [named('other')]: 'old', [named('gone')]: 'v' });
    expect(sentNames()).toEqual([named('other')]);
    expect(last().removed_resources).toEqual([named('gone')]);
    expect(stateOf('same')).toMatchObject({ ackedVersion: same });
    expect(stateOf('other')).toMatchObject({ ackedVersion: 'old' });
  });

  test.each([
    ['ModelRoute/a/gone', 'removed'],
    ['MCPServer/a/gone', 'removed'],
    ['ModelRoute/elsewhere/x', 'kept'],
    ['LLMRoute/a/new', 'kept'],
    ['LLMRoute/elsewhere/new', 'kept'],
    ['nonsense', 'kept'],
  ])('of an operator that watches namespace a: %s, which it does not have, is %s', (name, outcome) => {
    store = new SnapshotStore(undefined, ['a']);
    const present = put('present', 1);
    const session = open(SHARED, { [named('present')]: present, [name]: 'v' });
    expect(last().removed_resources).toEqual(outcome === 'removed' ? [name] : []);
    // Nor later, when something else of it changes.
    ack(session);
    put('present', 2);
    session.offer([named('present'), name]);
    expect(last().removed_resources).toEqual([]);
  });

  test('removes what is of a kind that the operator makes beside objects', () => {
    store.set(toVersioned('Extra/a/one', { kind: 'Fleet', knownLimiters: 1, egressAllow: [] }), { namespace: 'a' });
    open(SHARED, { 'Extra/a/two': 'v' });
    expect(last().removed_resources).toEqual(['Extra/a/two']);
  });

  test('is split by size, and only the last part is whole', () => {
    for (const name of ['a', 'b', 'c']) put(name, 1, 'x'.repeat(700));
    const session = open(SHARED, {}, 1500);
    expect(sentNames()).toHaveLength(1);
    expect(last().system_version_info).toBe('partial');
    ack(session);
    ack(session);
    expect(responses).toHaveLength(3);
    expect(last().system_version_info).toBe('');
    expect(new Set(responses.flatMap(({ resources }) => resources.map(({ name }) => name))).size).toBe(3);
  });

  test('begins with the fleet, which says what the others may dial, also when it is split', () => {
    for (const name of ['a', 'b']) put(name, 1, 'x'.repeat(700));
    const fleet = toVersioned(FLEET_RESOURCE_NAME, { kind: 'Fleet', knownLimiters: 1, egressAllow: [] });
    store.set(fleet, 'everyone');
    open(SHARED, { [named('a')]: 'old', [FLEET_RESOURCE_NAME]: 'old' }, 500);
    expect(sentNames()).toEqual([FLEET_RESOURCE_NAME]);
    open(SHARED, { [named('a')]: 'old' });
    expect(sentNames()).toEqual([FLEET_RESOURCE_NAME, named('a'), named('b')]);
  });

  test('is closed by an empty part when what should have followed is gone', () => {
    for (const name of ['a', 'b']) put(name, 1, 'x'.repeat(700));
    const session = open(SHARED, {}, 1500);
    store.remove(named('b'));
    ack(session);
    expect(last()).toMatchObject({ resources: [], removed_resources: [], system_version_info: '' });
  });
});

describe('trap 40: a config counts as in force', () => {
  test('when it was acknowledged, not when it was sent', () => {
    const version = put('r', 1);
    const session = open();
    expect(stateOf('r')).toMatchObject({ sentVersion: version });
    expect(stateOf('r')?.ackedVersion).toBeUndefined();
    ack(session);
    expect(stateOf('r')).toMatchObject({ ackedVersion: version });
  });

  test('only by the answer to the response that carried it: a stale or unknown nonce says nothing', () => {
    put('r', 1);
    const session = open();
    session.answer({ response_nonce: 'x' });
    session.answer({});
    expect(stateOf('r')?.ackedVersion).toBeUndefined();
    ack(session);
    const second = put('r', 2);
    session.offer([named('r')]);
    session.answer({ response_nonce: '1' });
    expect(stateOf('r')?.ackedVersion).not.toBe(second);
  });
});

describe('trap 41: a NACK', () => {
  test('rejects what it names, with the words of the limiter; the rest of the response is acknowledged', () => {
    const bad = put('bad', 1);
    const good = put('good', 1);
    const session = open();
    nack(session, formatRejections([words('bad', bad, 'needs limit.window')]));
    expect(stateOf('bad')).toMatchObject({ rejected: { version: bad, message: 'needs limit.window' } });
    expect(stateOf('bad')?.ackedVersion).toBeUndefined();
    expect(stateOf('good')).toMatchObject({ ackedVersion: good });
    expect(stateOf('good')?.rejected).toBeUndefined();
  });

  test.each([
    ['a text that is not JSON', 'out of memory'],
    ['an empty list', '[]'],
    ['a list of something else', '[1]'],
    ['names that were not sent', JSON.stringify([words('x', '1')])],
    ['a version that was not sent', JSON.stringify([words('r', '1')])],
    ['no text', ''],
  ])('with %s rejects all of the response', (_what, text) => {
    const version = put('r', 1);
    nack(open(), text);
    expect(stateOf('r')?.rejected?.version).toBe(version);
    expect(stateOf('r')?.rejected?.message).not.toBe('');
  });

  test('keeps the version from being sent again on the stream; the next version is sent', () => {
    const bad = put('r', 1);
    const session = open();
    nack(session, formatRejections([words('r', bad)]));
    session.offer([named('r')]);
    expect(responses).toHaveLength(1);
    const better = put('r', 2);
    session.offer([named('r')]);
    expect(last().resources).toMatchObject([{ version: better }]);
    ack(session);
    expect(stateOf('r')).toMatchObject({ ackedVersion: better });
    expect(stateOf('r')?.rejected).toBeUndefined();
  });

  test('leaves the last good version acknowledged', () => {
    const good = put('r', 1);
    const session = open();
    ack(session);
    const bad = put('r', 2);
    session.offer([named('r')]);
    nack(session, formatRejections([words('r', bad)]));
    expect(stateOf('r')).toMatchObject({ ackedVersion: good, rejected: { version: bad } });
  });
});

describe('changes', () => {
  test('trap 50: one edit among 10,000 objects sends one resource', () => {
    for (let index = 0; index < 10_000; index += 1) put(`r${index}`, 1);
    const session = open(SHARED, {}, 1 << 30);
    ack(session);
    put('r77', 2);
    session.offer([named('r77')]);
    expect(responses).toHaveLength(2);
    expect(sentNames()).toEqual([named('r77')]);
  });

  test('while a response is in flight wait as names, and the newest wins', () => {
    put('r', 1);
    const session = open();
    for (let burst = 2; burst <= 50; burst += 1) {
      put('r', burst);
      session.offer([named('r')]);
    }
    expect(responses).toHaveLength(1);
    ack(session);
    expect(responses).toHaveLength(2);
    expect(last().resources).toMatchObject([{ version: store.get(named('r'))!.resource.version }]);
    ack(session);
    expect(responses).toHaveLength(2);
  });

  test('that go back to the version in force while another is in flight are sent', () => {
    const first = put('r', 1);
    const session = open();
    ack(session);
    put('r', 2);
    session.offer([named('r')]);
    put('r', 1);
    session.offer([named('r')]);
    ack(session);
    expect(last().resources).toMatchObject([{ version: first }]);
  });

  test('of a removed object remove it, also when it was only just sent', () => {
    put('r', 1);
    const session = open();
    store.remove(named('r'));
    session.offer([named('r')]);
    ack(session);
    expect(last().removed_resources).toEqual([named('r')]);
    ack(session);
    expect(stateOf('r')?.ackedVersion).toBeUndefined();
    session.offer([named('r')]);
    expect(responses).toHaveLength(2);
  });

  test('of the labels of the pod add and remove what they select', () => {
    const visibility = (app: string) => ({ namespace: 'a', workloadSelector: { matchLabels: { app } } });
    store.set(sampleResource('a', 'x'), visibility('x'));
    store.set(sampleResource('a', 'y'), visibility('y'));
    const session = open(podView({ app: 'x' }));
    expect(sentNames()).toEqual([named('x')]);
    ack(session);
    session.changeView(podView({ app: 'y' }));
    expect(sentNames()).toEqual([named('y')]);
    expect(last().removed_resources).toEqual([named('x')]);
    ack(session);
    expect(table.statesOf(named('x'))).toEqual([]);
    expect(stateOf('y')?.ackedVersion).toBeDefined();
  });

  test('of a selector remove the object where it selects no more', () => {
    const resource = sampleResource('a', 'x');
    store.set(resource, { namespace: 'a', workloadSelector: { matchLabels: { app: 'x' } } });
    const session = open(podView({ app: 'x' }));
    ack(session);
    store.set(resource, { namespace: 'a', workloadSelector: { matchLabels: { app: 'z' } } });
    session.offer([named('x')]);
    expect(last().removed_resources).toEqual([named('x')]);
  });
});
