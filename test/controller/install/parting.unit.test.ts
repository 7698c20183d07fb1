// An uninstall as the operator hears of it: once per annotation, acknowledged when limiters are, and over when it
// does not take place.
import { beforeEach, expect, test } from '@jest/globals';
import { LEAVING_ANNOTATION, LEFT_ANNOTATION, Parting } from '../../../src/controller/install/parting.ts';
import type { AckState } from '../../../src/controller/push/ack-table.ts';
import type { LimiterConfig } from '../../../src/contract/limiter-config.ts';
import { toVersioned } from '../../../src/contract/snapshot.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import type { InForce } from '../../../src/reconcile/types.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';

const NAME = 'ModelRoute/default/chat';
const STARTED = '2026-01-01T00:00:00.000Z';
const SOON = { deadlineMs: 5000, everyMs: 5 };

const config = {
  kind: 'ModelRoute',
  namespace: 'default',
  name: 'chat',
  requires: ['store.redis'],
  store: { type: 'redis', isDefault: true, redis: { address: 'weir-redis:6379' } },
  limits: [{ name: 'all', cost: 1, rule: { kind: 'window', limit: 10, period: 'Hour', timeZone: 'UTC' } }],
} as unknown as LimiterConfig;
const inForce = { config, resource: toVersioned(NAME, config), generation: 1, isLastGood: false } as InForce;

let acked: string | undefined;
let pushed: string | undefined;
let pushes = 0;
let nowMs = 0;
let isServing = true;
let parting: Parting;

beforeEach(() => {
  acked = inForce.resource.version;
  pushes = 0;
  nowMs = Date.parse(STARTED) + 1000;
  isServing = true;
  const limiter = { id: 'one', view: { kind: 'pod' }, connected: true };
  parting = new Parting({
    acks: {
      statesOf: () => [{ limiter, ...(acked === undefined ? {} : { ackedVersion: acked }) } as unknown as AckState],
    },
    pushAll: () => {
      pushes += 1;
      pushed = parting.resourceOf(inForce).version;
      return Promise.resolve();
    },
    isServing: () => isServing,
    log: silentLogger(),
    nowMs: () => nowMs,
  });
});

test('limiters get other configs once it began, and it is acknowledged when they have acknowledged them', async () => {
  expect(parting.resourceOf(inForce)).toBe(inForce.resource);
  parting.read({});
  parting.read({ [LEAVING_ANNOTATION]: STARTED });
  parting.read({ [LEAVING_ANNOTATION]: STARTED });
  expect(parting.isParting).toBe(true);
  await waitFor('the push', () => pushes === 1 || undefined, SOON);
  expect(pushed).not.toBe(inForce.resource.version);
  expect(parting.wanted()).toEqual({});
  acked = pushed;
  await waitFor('the word', () => parting.wanted()[LEFT_ANNOTATION] === STARTED || undefined, SOON);
  parting.read({ [LEAVING_ANNOTATION]: STARTED, [LEFT_ANNOTATION]: STARTED });
  expect(pushes).toBe(1);
});

test('an operator to which limiters have not come back yet does not speak for them', async () => {
  isServing = false;
  parting.read({ [LEAVING_ANNOTATION]: STARTED });
  await waitFor('the push', () => pushes === 1 || undefined, SOON);
  acked = pushed;
  await new Promise(setImmediate);
  expect(parting.wanted()).toEqual({});
  isServing = true;
  await waitFor('the word', () => parting.wanted()[LEFT_ANNOTATION] === STARTED || undefined, SOON);
});

test('one that did not take place is over after ten minutes: limiters get their configs back', async () => {
  parting.read({ [LEAVING_ANNOTATION]: STARTED });
  await waitFor('the push', () => pushes === 1 || undefined, SOON);
  acked = pushed;
  await waitFor('the word', () => parting.wanted()[LEFT_ANNOTATION] === STARTED || undefined, SOON);
  nowMs += 600_000;
  parting.read({ [LEAVING_ANNOTATION]: STARTED });
  expect(parting.isParting).toBe(false);
  await waitFor('the push', () => pushes === 2 || undefined, SOON);
  expect(pushed).toBe(inForce.resource.version);
  expect(parting.wanted()).toEqual({});
});

test.each(['', 'soon', '2025-12-31T00:00:00Z'])('an annotation "%s" is no uninstall', (text) => {
  parting.read({ [LEAVING_ANNOTATION]: text });
  expect(parting.isParting).toBe(false);
});
