// The report of a limiter: what goes in comes out, within bounds, and nothing that can be sent makes the operator
// throw.
import { describe, expect, test } from '@jest/globals';
import {
  fromReportRequest,
  isReport,
  MOST_STORES,
  storeIdOf,
  toReportRequest,
  type LimiterReport,
} from '../../src/contract/limiter-report.ts';
import { isGoodbye, LIMITER_CONFIG_TYPE_URL, loadPushProtocol } from '../../src/contract/push-protocol.ts';

const REPORT: LimiterReport = {
  stores: [{ store: 'abc', kind: 'unreachable', detail: 'ECONNREFUSED' }],
  upstreams: [{ object: 'ModelRoute/a/r', upstream: 'http://u:1', detail: 'accepts no connections' }],
  unclaimed: ['m', '\u202eÿ "x"'],
};

test('over the wire a report is what it was, no goodbye and no answer to anything', () => {
  const { method } = loadPushProtocol();
  const request = method.requestDeserialize(method.requestSerialize(toReportRequest(REPORT)));
  expect(isReport(request)).toBe(true);
  expect(isGoodbye(request)).toBe(false);
  expect(request.response_nonce).toBe('');
  expect(fromReportRequest(request)).toEqual(REPORT);
});

test('it is bounded at both ends', () => {
  const many = Array.from({ length: 10_000 }, (_, index) => ({
    store: `s${index}`,
    kind: 'evicts' as const,
    detail: 'x'.repeat(5_000),
  }));
  const request = toReportRequest({ stores: many, upstreams: [] });
  expect(request.error_detail?.message?.length).toBeLessThan(100_000);
  expect(fromReportRequest(request)?.stores).toHaveLength(MOST_STORES);
  const forged = { ...request, error_detail: { code: 0, message: JSON.stringify({ stores: many }) } };
  const read = fromReportRequest(forged)!;
  expect(read.stores).toHaveLength(MOST_STORES);
  expect(read.stores[0]!.detail.length).toBeLessThanOrEqual(200);
  const names = Array.from({ length: 1_000 }, (_, index) => `${index}`.repeat(1_000));
  const unclaimed = toReportRequest({ stores: [], upstreams: [], unclaimed: names });
  expect(unclaimed.error_detail?.message?.length).toBeLessThan(1_000);
  const odd = JSON.stringify({ unclaimed: [1, null, 'm'.repeat(1_000), 'n'] });
  expect(fromReportRequest({ error_detail: { code: 0, message: odd } })?.unclaimed).toEqual(['m'.repeat(64)]);
});

describe.each([
  ['no text', ''],
  ['no JSON', '{'],
  ['null', 'null'],
  ['lists of anything', '{"stores":[1,null,{"store":1},{"store":"a","kind":"b"}],"upstreams":{"a":1}}'],
])('what is no report: %s', (_name, message) => {
  test('says nothing', () => {
    const read = fromReportRequest({ type_url: LIMITER_CONFIG_TYPE_URL, error_detail: { code: 0, message } });
    expect(read ?? { stores: [], upstreams: [] }).toEqual({ stores: [], upstreams: [] });
  });
});

test('words of a limiter are one line of plain text', () => {
  const message = JSON.stringify({ stores: [{ store: 'a', kind: 'evicts', detail: 'a\n\u001b[31mb' }] });
  expect(fromReportRequest({ error_detail: { code: 0, message } })?.stores[0]?.detail).toBe('a [31mb');
});

test('a store is known by where it is and as whom it is asked, not by its password', () => {
  const at = (more: object, namespace = 'a'): string | undefined =>
    storeIdOf({ namespace, store: { type: 'redis', redis: { address: 'a:1', username: 'u', ...more } } });
  const password = (resourceVersion: string) => ({
    password: { secret: { name: 's', key: 'k', uid: '1', resourceVersion } },
  });
  expect(at(password('1'))).toBe(at(password('2')));
  expect(at(password('1'))).not.toBe(at(password('1'), 'b'));
  expect(at({})).toBe(at({}, 'b'));
  expect(at({ db: 1 })).not.toBe(at({}));
  expect(at({ username: 'v' })).not.toBe(at({}));
  expect(storeIdOf({ namespace: 'a', store: { type: 'memory' } })).toBeUndefined();
});
