// What a failed call to an upstream means, by the code of what was thrown: trouble of the upstream, a fault of the
// request, or neither.
import { expect, test } from '@jest/globals';
import { failureOf } from '../../../src/limiter/proxy/upstream-errors.ts';

test('trouble of the upstream: TLS, DNS and timeouts by their codes', () => {
  const troubles = Object.fromEntries(
    [
      'EAI_AGAIN',
      'ENOTFOUND',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'CERT_HAS_EXPIRED',
      'EHOSTUNREACH',
      'UND_ERR_CONNECT_TIMEOUT',
      'ETIMEDOUT',
      'ECONNRESET',
      'EPIPE',
    ].map((code) => [code, failureOf(Object.assign(new Error('x'), { code })).trouble]),
  );
  expect(troubles).toEqual({
    EAI_AGAIN: 'unresolved',
    ENOTFOUND: 'unresolved',
    DEPTH_ZERO_SELF_SIGNED_CERT: 'tls',
    ERR_TLS_CERT_ALTNAME_INVALID: 'tls',
    CERT_HAS_EXPIRED: 'tls',
    EHOSTUNREACH: 'refused',
    UND_ERR_CONNECT_TIMEOUT: 'timeout',
    ETIMEDOUT: 'timeout',
    ECONNRESET: 'reset',
    EPIPE: 'reset',
  });
});

test('a fault of the request: by the code of what was thrown', () => {
  const of = (code: string): object => failureOf(Object.assign(new Error('x'), { code }));
  for (const code of ['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED'])
    expect(of(code)).toEqual({ error: expect.objectContaining({ code: 'invalid_request' }) });
  expect(of('UND_ERR_HEADERS_TIMEOUT')).toEqual({ error: expect.objectContaining({ code: 'upstream_timeout' }) });
  expect(of('UND_ERR_CLOSED')).toEqual({ error: expect.objectContaining({ code: 'draining' }) });
  expect(of('EMFILE')).toEqual({ error: expect.objectContaining({ code: 'upstream_unreachable' }) });
  expect(failureOf(new TypeError('x'))).toMatchObject({ error: { code: 'internal_error' }, isUnforeseen: true });
  for (const thrown of [undefined, null, 'x', 1, {}, Object.create(null)])
    expect(failureOf(thrown)).toMatchObject({ error: { code: 'internal_error' } });
});
