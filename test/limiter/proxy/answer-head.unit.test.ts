// The head of an upstream's answer: whatever comes in, nothing throws, and Node writes what comes out.
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { checkHead } from '../../../src/limiter/proxy/answer-head.ts';
import { responseHeaders } from '../../../src/limiter/proxy/http-headers.ts';

const value = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('chunked', 'gzip, chunked', '5', '-5'),
);
const name = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('content-length', 'transfer-encoding', 'connection', '__proto__', 'set-cookie', 'retry-after'),
);
const headers = fc
  .array(fc.tuple(name, fc.oneof(value, fc.array(value, { maxLength: 3 }))), { maxLength: 8 })
  .map((pairs) => Object.fromEntries(pairs));
const status = fc.oneof(fc.integer({ min: -1, max: 1000 }), fc.double(), fc.constantFrom(200, 204, 304, 429));

describe('a head', () => {
  test('is invalid with its reason, or goes on as what can be written', () => {
    fc.assert(
      fc.property(status, value, headers, (code, reason, given) => {
        const head = checkHead(code, reason, given);
        if ('problem' in head) return;
        expect(head.status).toBeGreaterThanOrEqual(200);
        expect(head.status).toBeLessThanOrEqual(599);
        expect(head.reason).toMatch(/^[\t\x20-\x7e]*$/);
        const flat = responseHeaders(head.headers, head.status, { 'x-request-id': 'a' });
        for (let at = 0; at < flat.length; at += 2) {
          validateHeaderName(flat[at]!);
          validateHeaderValue(flat[at]!, flat[at + 1]!);
        }
        expect(flat).not.toContain('transfer-encoding');
      }),
      { numRuns: 2000 },
    );
  });

  test('that HTTP allows is not touched', () => {
    const given = { 'content-type': 'a/b', 'x-latin': 'caf\xe9', 'set-cookie': ['a', 'b'], 'content-length': '2' };
    expect(checkHead(200, 'Fine by me', given)).toEqual({
      status: 200,
      reason: 'Fine by me',
      headers: [
        ['content-type', 'a/b'],
        ['x-latin', 'caf\xe9'],
        ['set-cookie', 'a'],
        ['set-cookie', 'b'],
        ['content-length', '2'],
      ],
      isMended: false,
    });
  });

  test('with characters that no header holds has a space in their place', () => {
    expect(checkHead(200, '', { 'x-a': 'a\0b\r\nc\u20ac' })).toMatchObject({
      headers: [['x-a', 'a b  c ']],
      isMended: true,
    });
    expect(checkHead(200, 'OK\r\nX-A: b', {})).toMatchObject({ reason: 'OK', isMended: true });
    expect(checkHead(200, '', { 'x a': 'b' })).toMatchObject({ headers: [], isMended: true });
  });

  test.each<[string, number, object]>([
    ['its status', 99, {}],
    ['its status', 600, {}],
    ['its status', NaN, {}],
    ['its length', 200, { 'content-length': ['1', '2'] }],
    ['its length', 200, { 'content-length': '1, 1' }],
    ['its coding', 200, { 'transfer-encoding': 'gzip, chunked' }],
    ['its coding', 200, { 'transfer-encoding': ['chunked', 'chunked'] }],
  ])('is refused by %s (%d %j)', (_name, code, given) => {
    expect(checkHead(code, '', given as never)).toHaveProperty('problem');
  });
});
