// Refusals: status, headers and body per dialect, all from the one bucket that refused.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { LimitConfig, ResponseConfig } from '../../../src/contract/limiter-config.ts';
import { ERRORS, type ErrorName } from '../../../src/lib/errors.ts';
import type { Decision, LimitOutcome, LocalReply, RefusalContext } from '../../../src/limiter/decide/decision.ts';
import { allowedHeaders, renderError, renderRefusal } from '../../../src/limiter/refusal/render.ts';
import { sfString } from '../../../src/limiter/refusal/header-families.ts';
import { clientDuration } from '../../../src/limiter/refusal/quota.ts';
import type { BucketState } from '../../../src/limiter/store/store.ts';
import { HOUR, MINUTE, SECOND, tokens, window } from '../store/fixtures.ts';
import { limit, RESPONSE } from '../fixtures.ts';

const NOW = Date.UTC(2026, 0, 31, 12, 0, 0) * 1000;

function outcome(state: Partial<BucketState> = {}, change: Partial<LimitConfig> = {}): LimitOutcome {
  return {
    limit: limit({ name: 'chat', rule: tokens(60, HOUR), ...change }),
    amount: 1,
    state: { limit: 60, remaining: 0, resetMicros: HOUR, over: true, waitMicros: 30.2 * SECOND, ...state },
  };
}

function denied(
  by: LimitOutcome,
  others: readonly LimitOutcome[] = [],
  reason: 'exhausted' | 'blocked' | 'too-large' = 'exhausted',
) {
  return { kind: 'denied', reason, by, outcomes: [...others, by] } as const;
}

function context(
  shape: RefusalContext['shape'],
  response: Partial<ResponseConfig> = {},
  rest: Partial<RefusalContext> = {},
): RefusalContext {
  return { response: { ...RESPONSE, ...response }, shape, requestId: 'req-1', ...rest };
}

const parsed = (reply: LocalReply): unknown => JSON.parse(reply.body);
const refuse = (decision: Exclude<Decision, { kind: 'allowed' }>, of: RefusalContext): LocalReply =>
  renderRefusal(decision, of, NOW);

describe('OpenAI', () => {
  test('429 with its body and header set', () => {
    const reply = refuse(denied(outcome()), context('openai'));
    expect(reply.status).toBe(429);
    expect(reply.headers).toEqual({
      'content-type': 'application/json',
      'x-request-id': 'req-1',
      'retry-after': '31',
      'retry-after-ms': '30200',
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '1h0m0s',
    });
    expect(parsed(reply)).toEqual({
      error: {
        message: 'Rate limit "chat" reached: 60 requests per 1h0m0s, 0 left. Please try again in 31s.',
        type: 'requests',
        param: null,
        code: 'rate_limit_exceeded',
      },
    });
  });

  test('one request is told as one request', () => {
    const rule = { kind: 'bucket', maxTokens: 1, refillPeriodMicros: MINUTE, burst: 1 } as const;
    const { error } = parsed(refuse(denied(outcome({}, { rule })), context('openai'))) as {
      error: { message: string };
    };
    expect(error.message).toContain('1 request per 1m0s');
  });

  test('tokens are told as tokens', () => {
    const reply = refuse(denied(outcome({}, { measure: 'TotalTokens' })), context('openai'));
    expect(parsed(reply)).toMatchObject({ error: { type: 'tokens' } });
    expect(reply.headers['x-ratelimit-limit-tokens']).toBe('60');
  });

  test('a wait of a minute is retried, a longer one is a quota', () => {
    const minute = refuse(denied(outcome({ waitMicros: MINUTE })), context('openai'));
    expect(minute.headers).toMatchObject({ 'retry-after': '60' });
    expect(minute.headers).not.toHaveProperty('x-should-retry');
    const longer = refuse(denied(outcome({ waitMicros: MINUTE + 1 })), context('openai'));
    expect(longer.status).toBe(429);
    expect(longer.headers).toMatchObject({ 'retry-after': '61', 'x-should-retry': 'false' });
    expect(parsed(longer)).toMatchObject({ error: { type: 'insufficient_quota', code: 'insufficient_quota' } });
  });
});

describe('Anthropic', () => {
  test('429 with its body and header set', () => {
    const reply = refuse(denied(outcome({ resetMicros: HOUR + 1 })), context('anthropic'));
    expect(reply.status).toBe(429);
    expect(reply.headers).toMatchObject({
      'request-id': 'req-1',
      'retry-after': '31',
      'anthropic-ratelimit-requests-limit': '60',
      'anthropic-ratelimit-requests-remaining': '0',
      'anthropic-ratelimit-requests-reset': '2026-01-31T13:00:01Z',
    });
    expect(parsed(reply)).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' }, request_id: 'req-1' });
  });

  test.each([
    ['InputTokens', 'input-tokens'],
    ['OutputTokens', 'output-tokens'],
    ['TotalTokens', 'tokens'],
  ] as const)('%s is %s', (measure, unit) => {
    const { headers } = refuse(denied(outcome({}, { measure })), context('anthropic'));
    expect(headers[`anthropic-ratelimit-${unit}-limit`]).toBe('60');
  });
});

describe('Problem', () => {
  test('RFC 9457 with the fields of draft-ietf-httpapi-ratelimit-headers-10', () => {
    const reply = refuse(denied(outcome()), context('problem'));
    expect(reply.status).toBe(429);
    expect(reply.headers).toMatchObject({
      'content-type': 'application/problem+json',
      'ratelimit-policy': '"chat";q=60;w=3600',
      ratelimit: '"chat";r=0;t=31',
      'retry-after': '31',
    });
    expect(parsed(reply)).toMatchObject({
      type: 'https://weir.dev/errors#rate_limit_exceeded',
      title: 'rate limit exceeded',
      status: 429,
      code: 'rate_limit_exceeded',
      limit: 'chat',
      retryAfterSeconds: 31,
    });
  });
});

describe('MCP', () => {
  const toolCall = (
    form: ResponseConfig['mcp']['form'],
    rest: Partial<RefusalContext> = { jsonRpcId: '7' },
    code = 429,
  ) => refuse(denied(outcome()), context('mcp', { mcp: { form, code } }, rest));

  test('trap 47: a tool result is HTTP 200, so that clients hand it to the model', () => {
    const reply = toolCall('ToolResult');
    expect(reply.status).toBe(200);
    expect(reply.headers).toMatchObject({ 'content-type': 'application/json', 'retry-after': '31' });
    expect(parsed(reply)).toEqual({
      jsonrpc: '2.0',
      id: 7,
      result: {
        content: [{ type: 'text', text: expect.stringContaining('Please try again in 31s') as unknown }],
        isError: true,
        _meta: { 'weir.dev/limit': 'chat', 'weir.dev/retryAfterSeconds': 31 },
      },
    });
  });

  test.each([
    ['JSONRPCError', 200],
    ['HTTP429', 429],
  ] as const)('%s', (form, status) => {
    const reply = toolCall(form);
    expect(reply.status).toBe(status);
    expect(reply.headers['retry-after']).toBe('31');
    expect(parsed(reply)).toEqual({
      jsonrpc: '2.0',
      id: 7,
      error: { code: 429, message: expect.any(String) as unknown, data: { retryAfterSeconds: 31, limit: 'chat' } },
    });
  });

  test('the id keeps its type and is left out when there was none', () => {
    expect(parsed(toolCall('HTTP429', { jsonRpcId: '"7"' }))).toMatchObject({ id: '7' });
    expect(parsed(toolCall('HTTP429', { jsonRpcId: '0' }))).toMatchObject({ id: 0 });
    expect(parsed(toolCall('HTTP429', {}))).not.toHaveProperty('id');
  });

  test.each(['ToolResult', 'JSONRPCError', 'HTTP429'] as const)(
    'a notification: 429 without a body in form %s',
    (form) => {
      const reply = toolCall(form, { isNotification: true });
      expect([reply.status, reply.body]).toEqual([429, '']);
      expect(reply.headers).toMatchObject({ 'retry-after': '31' });
      expect(reply.headers).not.toHaveProperty('content-type');
    },
  );

  test('code -32029 is for protocols before 2026-07-28', () => {
    const codeAt = (mcpProtocolVersion?: string): unknown =>
      parsed(toolCall('JSONRPCError', mcpProtocolVersion === undefined ? {} : { mcpProtocolVersion }, -32029));
    expect(codeAt('2025-11-25')).toMatchObject({ error: { code: -32029 } });
    expect(codeAt()).toMatchObject({ error: { code: -32029 } });
    expect(codeAt('2026-07-28')).toMatchObject({ error: { code: 429 } });
  });

  test('a limit of 0 is 403 in form HTTP429 and readable in the others', () => {
    const blocked = denied(outcome({ waitMicros: Infinity }), [], 'blocked');
    const inForm = (form: ResponseConfig['mcp']['form']) =>
      refuse(blocked, context('mcp', { mcp: { form, code: 429 } }, { jsonRpcId: '1' }));
    expect(inForm('HTTP429')).toMatchObject({ status: 403, headers: { 'x-should-retry': 'false' } });
    expect(parsed(inForm('HTTP429'))).toMatchObject({ error: { code: 403, data: { limit: 'chat' } } });
    expect(parsed(inForm('ToolResult'))).toMatchObject({ result: { isError: true } });
    expect(inForm('JSONRPCError').status).toBe(200);
  });

  test.each(['ToolResult', 'JSONRPCError', 'HTTP429'] as const)('trap 44: an outage is 503 in form %s', (form) => {
    const reply = refuse(
      { kind: 'unavailable', limit: limit({ name: 'chat' }), outcomes: [], degraded: 'Closed' },
      context('mcp', { mcp: { form, code: 429 } }, { jsonRpcId: '1' }),
    );
    expect(reply.status).toBe(503);
    expect(parsed(reply)).toMatchObject({ id: 1, error: { code: 503, data: { limit: 'chat' } } });
  });
});

describe('in every shape', () => {
  const shapes = ['openai', 'anthropic', 'mcp', 'problem'] as const;
  const HTTP = { mcp: { form: 'HTTP429', code: 429 } } as const;

  test.each(shapes)('trap 6: %s: what can never fit is 400, names the limit, and has no Retry-After', (shape) => {
    const by = { ...outcome({ limit: 60, waitMicros: Infinity }), amount: 61 };
    const reply = refuse(denied(by, [], 'too-large'), context(shape, HTTP, { jsonRpcId: '1' }));
    expect(reply.status).toBe(400);
    expect(reply.headers).not.toHaveProperty('retry-after');
    expect(reply.headers).not.toHaveProperty('retry-after-ms');
    expect(reply.body).toContain('61');
    expect(reply.body).toContain('chat');
    if (shape === 'openai')
      expect(parsed(reply)).toMatchObject({ error: { type: 'invalid_request_error', code: 'exceeds_capacity' } });
    if (shape === 'anthropic') expect(parsed(reply)).toMatchObject({ error: { type: 'invalid_request_error' } });
  });

  test.each(shapes)('trap 29: %s: a limit of 0 is 403 and not retried', (shape) => {
    const reply = refuse(
      denied(outcome({ waitMicros: Infinity }), [], 'blocked'),
      context(shape, HTTP, { jsonRpcId: '1' }),
    );
    expect(reply.status).toBe(403);
    expect(reply.headers).toMatchObject({ 'x-should-retry': 'false' });
    expect(reply.headers).not.toHaveProperty('retry-after');
  });

  test.each(shapes.flatMap((shape) => (['Closed', 'Local'] as const).map((degraded) => [shape, degraded] as const)))(
    'trap 44: %s: an outage is 503, never 429, and says when to come back (%s)',
    (shape, degraded) => {
      const reply = refuse(
        { kind: 'unavailable', limit: limit(), outcomes: [], degraded },
        context(shape, HTTP, { jsonRpcId: '1' }),
      );
      expect(reply.status).toBe(503);
      expect(reply.headers).toMatchObject({ 'retry-after': '5', 'retry-after-ms': '5000' });
      expect(reply.body).not.toContain('rate_limit');
      expect(reply.body).toContain(degraded === 'Closed' ? 'is Closed' : 'used up');
    },
  );

  test('trap 43: Retry-After and headers speak of the bucket that refused, not of a tighter-looking one', () => {
    const other = outcome({ remaining: 0, limit: 5, resetMicros: 2 * HOUR }, { name: 'other' });
    const families = { headers: ['IETF', 'XRateLimit', 'OpenAI', 'Anthropic'] } as const;
    const { headers } = refuse(denied(outcome(), [other]), context('problem', families));
    expect(headers).toMatchObject({
      'retry-after': '31',
      ratelimit: '"chat";r=0;t=31',
      'ratelimit-policy': '"chat";q=60;w=3600',
      'x-ratelimit-limit': '60',
      'x-ratelimit-reset': '3600',
      'x-ratelimit-limit-requests': '60',
      'anthropic-ratelimit-requests-limit': '60',
    });
  });

  test('Retry-After is whole seconds, rounded up, at least 1, and never earlier than the truth', () => {
    const wait = fc.integer({ min: 1, max: 366 * 24 * 3600 * 1_000_000 });
    fc.assert(
      fc.property(wait, (waitMicros) => {
        const { headers } = refuse(denied(outcome({ waitMicros })), context('openai'));
        const seconds = Number(headers['retry-after']);
        expect(seconds).toBe(Math.max(1, Math.ceil(waitMicros / SECOND)));
        expect(Number(headers['retry-after-ms']) * 1000).toBeGreaterThanOrEqual(waitMicros);
        expect(Number(headers['retry-after-ms']) * 1000).toBeLessThan(waitMicros + 1000);
        expect(headers['x-should-retry']).toBe(seconds > 60 ? 'false' : undefined);
      }),
    );
  });

  test('every error of the table has an answer in every shape', () => {
    for (const code of Object.keys(ERRORS) as ErrorName[]) {
      for (const shape of shapes) {
        const reply = renderError(code, context(shape, {}, { jsonRpcId: '3' }), 'because');
        expect([code, shape, reply.status]).toEqual([code, shape, ERRORS[code].status]);
        expect(reply.body).toContain('because');
        expect(reply.headers['x-request-id']).toBe('req-1');
      }
    }
  });

  test('an unauthenticated call gets WWW-Authenticate; a differing MCP header its own code', () => {
    expect(renderError('unauthenticated', context('mcp', {}, { jsonRpcId: '1' })).headers['www-authenticate']).toBe(
      'Bearer realm="weir"',
    );
    expect(parsed(renderError('header_mismatch', context('mcp', {}, { jsonRpcId: '1' })))).toMatchObject({
      error: { code: -32020 },
    });
  });

  test('nothing that a caller or a tool chose ends a header', () => {
    const name = 'tools/sümmary "x"\\\r\nSet-Cookie: a=b/shared';
    const hostile = context('problem', { headers: ['IETF'] }, { requestId: 'a\r\nb: c\u0000é' });
    const { headers } = refuse(denied(outcome({}, { name })), hostile);
    for (const value of Object.values(headers)) expect(value).toMatch(/^[\x20-\x7e]*$/);
    expect(headers.ratelimit).toContain('\\"x\\"');
    // Lone surrogates too, which fast-check's own units leave out.
    const character = fc.integer({ min: 0, max: 0x10ffff }).map((code) => String.fromCodePoint(code));
    fc.assert(
      fc.property(fc.string({ unit: character }), (text) => {
        expect(sfString(text)).toMatch(/^"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"$/);
      }),
    );
  });
});

describe('answers that passed', () => {
  const allowed = (...outcomes: LimitOutcome[]) => ({ kind: 'allowed', outcomes }) as const;
  const passing = (
    name: string,
    remaining: number,
    capacity: number,
    change: Partial<LimitConfig> = {},
  ): LimitOutcome =>
    outcome({ remaining, limit: capacity, over: false, waitMicros: 0, resetMicros: 90 * SECOND }, { name, ...change });

  test('speak of the enforced limit with the smallest remaining fraction', () => {
    const decision = allowed(
      passing('wide', 50, 100),
      passing('tight', 30, 1000),
      passing('shadow', 0, 10, { enforcement: 'Shadow' }),
      passing('equal', 3, 100),
    );
    expect(allowedHeaders(decision, context('openai'), NOW)).toEqual({
      'x-ratelimit-limit-requests': '1000',
      'x-ratelimit-remaining-requests': '30',
      'x-ratelimit-reset-requests': '1m30s',
    });
  });

  test('are without headers when no limit was asked', () => {
    expect(allowedHeaders(allowed(), context('openai'), NOW)).toEqual({});
    expect(allowedHeaders(allowed(passing('s', 1, 2, { enforcement: 'Shadow' })), context('openai'), NOW)).toEqual({});
  });

  test('X-RateLimit in seconds or as an epoch, rounded up', () => {
    const decision = allowed(passing('a', 1, 2));
    const reset = (resetFormat: 'Delta' | 'Epoch'): string | undefined =>
      allowedHeaders(decision, context('openai', { headers: ['XRateLimit'], resetFormat }), NOW + 1)[
        'x-ratelimit-reset'
      ];
    expect(reset('Delta')).toBe('90');
    expect(reset('Epoch')).toBe(String(NOW / SECOND + 91));
  });

  test.each([
    [tokens(100, MINUTE, 500), 'q=100;w=60'],
    [tokens(100, 1500_000), 'q=100;w=2'],
    [tokens(100, 1000), 'q=100;w=1'],
    [window(7, 'Hour'), 'q=7;w=3600'],
    [window(7, 'Month'), 'q=7;w=2592000'],
  ])('the policy of %j is %s', (rule, policy) => {
    const headers = allowedHeaders(allowed(passing('p', 1, 2, { rule })), context('mcp'), NOW);
    expect(headers).toEqual({ 'ratelimit-policy': `"p";${policy}`, ratelimit: '"p";r=1;t=90' });
  });

  test('a reset beyond the year 9999 is told as its end', () => {
    const far = outcome({ remaining: 1, resetMicros: 1e12 * HOUR });
    expect(allowedHeaders(allowed(far), context('anthropic'), NOW)).toMatchObject({
      'anthropic-ratelimit-requests-reset': '9999-12-31T23:59:59Z',
    });
  });
});

describe('durations as clients write them', () => {
  test.each([
    [0, '0s'],
    [1, '1ms'],
    [250_000, '250ms'],
    [999_999, '1s'],
    [SECOND, '1s'],
    [SECOND + 1, '2s'],
    [6 * MINUTE, '6m0s'],
    [HOUR + 5 * SECOND, '1h0m5s'],
    [26 * HOUR, '26h0m0s'],
  ])('%d µs is %s', (micros, text) => {
    expect(clientDuration(micros)).toBe(text);
  });
});
