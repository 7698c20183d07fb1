// CRD: `spec.rateLimiting` of both kinds; in: the kind, out: its schema and type.
import type { ObjectKind } from '../../contract/limiter-config.ts';
import { bucket, enforcement, limitSchema } from './limit.ts';
import { redis } from './redis.ts';
import { choice, flag, integer, listMap, object, setOf, text, withDefault } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { amount, decimal, duration } from './values.ts';

const estimation = object(
  'What is reserved before the answer of the model is known.',
  {},
  {
    input: withDefault(choice('How input tokens are estimated.', ['Auto', 'Characters', 'Tokenizer']), 'Auto'),
    output: withDefault(
      choice(
        'How output tokens are estimated. Learned: the 90th percentile of this model, at most what the caller asked for.',
        ['Learned', 'MaxTokens', 'None'],
      ),
      'Learned',
    ),
    defaultOutputTokens: withDefault(amount('Output reserved while nothing was learned, in tokens.', 0), 1024),
    perImage: withDefault(amount('Tokens reserved per image of the input.', 0), 1500),
    perAudioSecond: withDefault(amount('Tokens reserved per second of audio of the input.', 0), 25),
    perFilePage: withDefault(amount('Tokens reserved per page of a file of the input.', 0), 1500),
    enforce: withDefault(
      flag('true: the reserved output is written into the max tokens that the upstream sees.'),
      false,
    ),
  },
);

const price = object(
  'The price of a model, in rateLimiting.currency.',
  { model: text('The model that the route names.', { max: 253 }) },
  {
    inputPerMillion: decimal('Per million input tokens.'),
    outputPerMillion: decimal('Per million output tokens.'),
    cachedInputPerMillion: decimal('Per million input tokens that were read from a cache.'),
    cacheWritePerMillion: decimal('Per million input tokens that were written to a cache.'),
    perRequest: decimal('Per request.'),
  },
);

const response = object(
  'What a refused caller gets.',
  {},
  {
    dialect: withDefault(
      choice('Shape of the refusal. Auto: that of the API which was called.', [
        'Auto',
        'OpenAI',
        'Anthropic',
        'MCP',
        'Problem',
      ]),
      'Auto',
    ),
    headers: setOf(
      'Families of rate limit headers to send; absent: those of the dialect.',
      choice('A family of headers.', ['IETF', 'XRateLimit', 'OpenAI', 'Anthropic']),
      { max: 4 },
    ),
    resetFormat: withDefault(
      choice('How X-RateLimit-Reset is written: seconds from now (Delta) or since 1970 (Epoch).', ['Delta', 'Epoch']),
      'Delta',
    ),
    mcp: object(
      'The refusal of an MCP call.',
      {},
      {
        form: withDefault(
          choice('ToolResult: a result with isError, which the model can read.', [
            'ToolResult',
            'JSONRPCError',
            'HTTP429',
          ]),
          'ToolResult',
        ),
        code: withDefault(integer('Code of the JSON-RPC error.', -2_147_483_648, 2_147_483_647), 429),
      },
    ),
  },
);

const latency = (what: string) =>
  object(what, { threshold: duration('Calls are refused while the average is above.') }, {});

const adaptive = object(
  'Sheds load while the model is slow. At least one threshold is set.',
  {},
  {
    timeToFirstToken: latency('Time until the first token.'),
    interTokenLatency: latency('Time between two tokens.'),
    timeConstant: withDefault(duration('Time constant of the moving average.'), '15s'),
    scope: withDefault(choice('What has an average of its own.', ['Model', 'Object', 'Limiter']), 'Model'),
    minSamples: withDefault(integer('Samples before anything is refused.', 1, 1_000_000), 5),
    probe: withDefault(integer('Percent of calls let through to keep measuring.', 0, 100), 1),
  },
  [
    {
      rule: 'has(self.timeToFirstToken) || has(self.interTokenLatency)',
      message: 'at least one of timeToFirstToken or interTokenLatency must be set',
    },
  ],
);

function commonFields(kind: ObjectKind) {
  return {
    redis,
    scope: withDefault(
      choice('Shared: all limiters count together in Redis. Local: each limiter on its own, without Redis.', [
        'Shared',
        'Local',
      ]),
      'Shared',
    ),
    failurePolicy: choice(
      'What happens when Redis does not answer in time. Local: go on with the share of this limiter. Absent: Local, and Closed for windows of a Day and longer and for the measure Cost.',
      ['Open', 'Closed', 'Local'],
    ),
    enforcement: withDefault(enforcement('Whether the limits refuse.'), 'Enforce'),
    consistency: withDefault(
      choice('Leased: limiters take shares ahead. It never admits too much, it may refuse early.', ['Exact', 'Leased']),
      'Exact',
    ),
    limits: listMap('The limits of the object.', 'name', limitSchema(kind), { max: 32 }),
    estimation,
    currency: text('ISO 4217 code of prices and maxCost; USD when absent.', { max: 3, pattern: '^[A-Z]{3}$' }),
    prices: listMap('Prices of models, for the measure Cost.', 'model', price, { max: 64 }),
    response,
    unmetered: withDefault(
      choice('What happens to a POST whose tokens cannot be metered, on an object with token or Cost limits.', [
        'Refuse',
        'Allow',
      ]),
      'Refuse',
    ),
    adaptive,
  } as const;
}

const globalRule: Rule = {
  rule: '!(has(self.shared) && has(self.global))',
  message: 'global is another name for shared: set only one',
};
const shared = { ...bucket, description: `Calls of all callers together. ${bucket.description}` };
const alias = { ...bucket, description: `Another name for shared, never both. ${bucket.description}` };
const perUser = { ...bucket, description: `Calls of each user. Needs authentication. ${bucket.description}` };

const tool = object(
  'The limits of one tool.',
  { name: text('Name of the tool, as the server lists it.', { max: 128 }) },
  { shared, global: alias, perUser, price: decimal('Price of a call, for the measure Cost.') },
  [
    globalRule,
    {
      rule: 'has(self.shared) || has(self.global) || has(self.perUser)',
      message: 'at least one of shared or perUser must be configured',
    },
  ],
);
/** An entry of the short form of an MCPServer. */
export type Tool = Infer<typeof tool>;

const HAS_LIMITS = '(has(self.limits) && size(self.limits) > 0)';
const HAS_TOOLS = '(has(self.tools) && size(self.tools) > 0)';

/** `spec.rateLimiting` of a ModelRoute. */
export const modelRateLimiting = object('Who may use how much of what.', {}, commonFields('ModelRoute'), [
  { rule: `${HAS_LIMITS} || has(self.adaptive)`, message: 'at least one of limits or adaptive must be configured' },
]);

/** `spec.rateLimiting` of an MCPServer: the common fields and a short form. */
export const mcpRateLimiting = object(
  'Who may use how much of what.',
  {},
  {
    ...commonFields('MCPServer'),
    shared,
    global: alias,
    perUser,
    tools: listMap('Limits of single tools, beside those of the server.', 'name', tool, { max: 128 }),
  },
  [
    globalRule,
    {
      rule: `has(self.shared) || has(self.global) || has(self.perUser) || ${HAS_TOOLS} || ${HAS_LIMITS}`,
      message: 'at least one of shared, perUser, tools or limits must be configured',
    },
  ],
);

export type ModelRateLimiting = Infer<typeof modelRateLimiting>;
export type MCPRateLimiting = Infer<typeof mcpRateLimiting>;
