// CRD: `spec.rateLimiting` of both kinds; in: the kind, out: its schema and type.
import type { ObjectKind } from '../../contract/limiter-config.ts';
import { DEFAULTS } from '../defaults.ts';
import { bucket, enforcement, limitSchema } from './limit.ts';
import { redis } from './redis.ts';
import { choice, flag, integer, listMap, object, setOf, text, withDefault, withDefaultWords } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { amount, decimal, duration } from './values.ts';

const { adaptive: ADAPTIVE, estimation: ESTIMATION, rateLimiting: COMMON, response: RESPONSE } = DEFAULTS;

const estimation = object(
  'What is reserved before the answer of the model is known.',
  {},
  {
    input: withDefault(
      choice('How input tokens are estimated.', ['Auto', 'Characters', 'Tokenizer']),
      ESTIMATION.input,
    ),
    output: withDefault(
      choice(
        'How output tokens are estimated. Learned: the 90th percentile of this model, at most what the caller asked for.',
        ['Learned', 'MaxTokens', 'None'],
      ),
      ESTIMATION.output,
    ),
    defaultOutputTokens: withDefault(
      amount('Output tokens reserved until enough answers have been seen.', 0),
      ESTIMATION.defaultOutputTokens,
    ),
    perImage: withDefault(amount('Tokens reserved per image of the input.', 0), ESTIMATION.perImage),
    perAudioSecond: withDefault(
      amount('Tokens reserved per second of audio of the input.', 0),
      ESTIMATION.perAudioSecond,
    ),
    perFilePage: withDefault(amount('Tokens reserved per page of a file of the input.', 0), ESTIMATION.perFilePage),
    enforce: withDefault(
      flag('true: the reserved output is written into the maximum number of tokens that the upstream receives.'),
      ESTIMATION.enforce,
    ),
  },
);

const price = object(
  'The price of a model, in rateLimiting.currency.',
  { model: text('The model, as the route names it.', { max: 253 }) },
  {
    inputPerMillion: decimal('Per million input tokens.'),
    outputPerMillion: decimal('Per million output tokens.'),
    cachedInputPerMillion: withDefaultWords(
      decimal('Per million input tokens that were read from a cache.'),
      'inputPerMillion',
    ),
    cacheWritePerMillion: withDefaultWords(
      decimal('Per million input tokens that were written to a cache.'),
      'inputPerMillion',
    ),
    perRequest: withDefaultWords(decimal('Per request.'), '"0"'),
  },
);

const response = object(
  'What a refused caller gets.',
  {},
  {
    dialect: withDefault(
      choice('Format of the refusal. Auto: that of the API that was called.', [
        'Auto',
        'OpenAI',
        'Anthropic',
        'MCP',
        'Problem',
      ]),
      RESPONSE.dialect,
    ),
    headers: withDefaultWords(
      setOf(
        'Families of rate limit headers to send.',
        choice('A family of headers.', ['IETF', 'XRateLimit', 'OpenAI', 'Anthropic']),
        { max: 4 },
      ),
      'those of the dialect',
    ),
    resetFormat: withDefault(
      choice('Format of X-RateLimit-Reset: seconds from now (Delta) or seconds since 1970 (Epoch).', [
        'Delta',
        'Epoch',
      ]),
      RESPONSE.resetFormat,
    ),
    cors: withDefault(
      choice(
        'CORS headers on answers of the limiter itself, so that a page can read them. Mirror: what the upstream grants the origin.',
        ['Mirror', 'Off'],
      ),
      RESPONSE.cors,
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
          RESPONSE.mcpForm,
        ),
        code: withDefault(integer('Code of the JSON-RPC error.', -2_147_483_648, 2_147_483_647), RESPONSE.mcpCode),
      },
    ),
  },
);

const latency = (what: string) =>
  object(what, { threshold: duration('Calls are refused while the average is above this.') }, {});

const adaptive = object(
  'Sheds load while the model is slow. Set at least one threshold.',
  {},
  {
    timeToFirstToken: latency('Time to the first token.'),
    interTokenLatency: latency('Time between two tokens.'),
    timeConstant: withDefault(duration('Time constant of the moving average.'), ADAPTIVE.timeConstant),
    scope: withDefault(choice('What has its own average.', ['Model', 'Object', 'Limiter']), ADAPTIVE.scope),
    minSamples: withDefault(integer('Number of samples before calls are refused.', 1, 1_000_000), ADAPTIVE.minSamples),
    probe: withDefault(integer('Percentage of calls that are let through to keep measuring.', 0, 100), ADAPTIVE.probe),
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
    redis: withDefaultWords(redis, "the operator's default Redis"),
    scope: withDefault(
      choice('Shared: all limiters count together in Redis. Local: each limiter counts on its own, without Redis.', [
        'Shared',
        'Local',
      ]),
      COMMON.scope,
    ),
    failurePolicy: withDefaultWords(
      choice(
        'What happens to a request when Redis does not answer in time. Open: it passes. Closed: it is refused with 503. ' +
          'Local: this limiter admits its share of what was left. If several limits apply to the request, one Closed refuses it.',
        ['Open', 'Closed', 'Local'],
      ),
      'for each limit Local, but Closed for windows of a Day or longer and for the measure Cost',
    ),
    enforcement: withDefault(enforcement('Whether the limits refuse requests.'), COMMON.enforcement),
    consistency: withDefault(
      choice(
        'Exact: each request is counted in Redis. Leased: limiters take shares ahead, never admit too much, and may refuse early.',
        ['Exact', 'Leased'],
      ),
      COMMON.consistency,
    ),
    limits: listMap('The limits of the object.', 'name', limitSchema(kind), { max: 32 }),
    estimation,
    currency: withDefault(
      text('ISO 4217 code of prices and maxCost.', { max: 3, pattern: '^[A-Z]{3}$' }),
      COMMON.currency,
    ),
    prices: listMap('Prices of models, for the measure Cost.', 'model', price, { max: 64 }),
    response,
    unmetered: withDefault(
      choice('What happens to a POST whose tokens cannot be counted, on an object with token or Cost limits.', [
        'Refuse',
        'Allow',
      ]),
      COMMON.unmetered,
    ),
    adaptive,
  } as const;
}

const globalRule: Rule = {
  rule: '!(has(self.shared) && has(self.global))',
  message: 'global is another name for shared: set only one',
};
const shared = { ...bucket, description: `The calls of all callers together. ${bucket.description}` };
const alias = { ...bucket, description: `Another name for shared; set only one of both. ${bucket.description}` };
const perUser = { ...bucket, description: `The calls of each user. Requires authentication. ${bucket.description}` };

const tool = object(
  'The limits of one tool.',
  { name: text('Name of the tool in the list of the server.', { max: 128 }) },
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
export type ToolSpec = Infer<typeof tool>;

const HAS_LIMITS = '(has(self.limits) && size(self.limits) > 0)';
const HAS_TOOLS = '(has(self.tools) && size(self.tools) > 0)';

/** `spec.rateLimiting` of a ModelRoute. */
export const modelRateLimiting = object(
  'Rate limits, and what happens when they refuse.',
  {},
  commonFields('ModelRoute'),
  [{ rule: `${HAS_LIMITS} || has(self.adaptive)`, message: 'at least one of limits or adaptive must be configured' }],
);

/** `spec.rateLimiting` of an MCPServer: the common fields and a short form. */
export const mcpRateLimiting = object(
  'Rate limits, and what happens when they refuse.',
  {},
  {
    ...commonFields('MCPServer'),
    shared,
    global: alias,
    perUser,
    tools: listMap('Limits of single tools, in addition to those of the server.', 'name', tool, { max: 128 }),
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
