// Objects that together set every field of the API: each admitted by schema and CEL.
import type { ObjectKind } from '../../src/contract/limiter-config.ts';

export interface Specimen {
  readonly kind: ObjectKind;
  readonly spec: Readonly<Record<string, unknown>>;
}

const REDIS_SECRETS = {
  username: 'weir',
  passwordSecretRef: { name: 'redis', key: 'password' },
  tls: { caSecretRef: { name: 'redis', key: 'ca' }, serverName: 'redis.example.com' },
};
const REDIS = { address: 'redis:6379', db: 1, ...REDIS_SECRETS };
const SENTINEL = { sentinel: { masterName: 'main', addresses: ['sentinel:26379'] } };
const CLUSTER = { cluster: { addresses: ['cluster:6379'] } };

const AUTHENTICATION = {
  required: true,
  apiKeys: { secretRef: { name: 'keys' }, headers: ['x-api-key'] },
  jwt: {
    issuer: 'https://login.example.com',
    audiences: ['weir'],
    jwksUri: 'https://login.example.com/keys',
    userClaim: 'sub',
    applicationClaim: 'azp',
  },
  trustedHeaders: { user: 'x-user', application: 'x-app', attributes: { tier: 'x-tier' } },
  trustedPeers: ['10.0.0.0/8'],
  clientIP: { trustedHops: 1 },
};
const JWKS_SECRET = {
  ...AUTHENTICATION,
  jwt: { issuer: 'https://login.example.com', jwksSecretRef: { name: 'idp', key: 'jwks' } },
};

const TARGETS = [
  {
    service: { name: 'vllm', port: 8000 },
    weight: 2,
    credential: { secretRef: { name: 'upstream', key: 'token' }, header: 'x-key' },
    streamUsage: 'Off',
    engine: 'VLLM',
  },
  { url: 'https://api.example.com/base', weight: 3 },
];

const RESPONSE = {
  dialect: 'Problem',
  headers: ['IETF'],
  resetFormat: 'Epoch',
  mcp: { form: 'JSONRPCError', code: -32029 },
  cors: 'Off',
};
const COMMON = {
  scope: 'Local',
  failurePolicy: 'Open',
  enforcement: 'Shadow',
  consistency: 'Leased',
  estimation: {
    input: 'Characters',
    output: 'None',
    defaultOutputTokens: 1,
    perImage: 2,
    perAudioSecond: 3,
    perFilePage: 4,
    enforce: true,
  },
  currency: 'EUR',
  prices: [
    {
      model: 'llama',
      inputPerMillion: '1',
      outputPerMillion: '2',
      cachedInputPerMillion: '3',
      cacheWritePerMillion: '4',
      perRequest: '5',
    },
  ],
  response: RESPONSE,
  unmetered: 'Allow',
  adaptive: {
    timeToFirstToken: { threshold: '1s' },
    interTokenLatency: { threshold: '50ms' },
    timeConstant: '20s',
    scope: 'Object',
    minSamples: 9,
    probe: 2,
  },
};

const PER = [
  { user: {}, fallback: 'nobody', whenAbsent: 'Skip' },
  { application: {} },
  { claim: 'tier' },
  { header: 'x-team' },
  { query: 'team' },
];
const MORE_PER = [{ clientIP: { prefixV4: 24, prefixV6: 56 } }, { model: {} }, { session: {} }, { constant: 'all' }];
const TEXTS = [{ exact: 'a' }, { prefix: 'b' }, { regex: 'c+' }];

/** Every condition that both kinds have, eight to a limit. */
const WHEN = [
  ...TEXTS.map((text) => ({ header: { name: 'x-team', ...text } })),
  { header: { name: 'x-team', present: true } },
  { claim: { path: 'tier', exact: 'gold' } },
  { claim: { path: 'tier', regex: 'gold|silver' } },
  { path: { exact: '/v1/models' } },
  { path: { prefix: '/v1' }, not: true },
];
const MORE_WHEN = [
  { path: { regex: '/v1/.*' } },
  { method: ['POST'] },
  { clientIP: ['10.0.0.0/8'] },
  ...TEXTS.map((text) => ({ query: { name: 'team', ...text } })),
  { query: { name: 'team', present: false } },
  { model: { exact: 'llama' } },
];
const LAST_WHEN = [
  { model: { prefix: 'll' } },
  { application: ['a'] },
  { user: ['u'] },
  { schedule: { days: ['Mon'], from: '08:00', to: '18:00', timeZone: 'Europe/Berlin' } },
];
const ESTIMATE = { estimate: { measure: 'InputTokens', atLeast: 5 } };

const LIMITS = [
  {
    name: 'bucket',
    measure: 'Requests',
    bucket: { maxTokens: 10, refillPeriod: '1m', burst: 5 },
    per: PER,
    when: WHEN,
    group: 'tier',
    priority: 3,
    enforcement: 'Enforce',
    cost: 2,
    cutStreams: true,
  },
  { name: 'window', window: { limit: 10, period: 'Day', timeZone: 'Europe/Berlin' }, per: MORE_PER, when: MORE_WHEN },
  { name: 'cost', measure: 'Cost', bucket: { maxCost: '5', refillPeriod: '1h' }, when: LAST_WHEN },
  { name: 'budget', measure: 'Cost', window: { maxCost: '5', period: 'Month' } },
  { name: 'parallel', measure: 'Concurrency', concurrency: 3 },
];
const TOKENS = {
  name: 'tokens',
  measure: 'InputTokens',
  bucket: { maxTokens: 1, refillPeriod: '1m' },
  cachedInputWeight: '0.5',
  when: [ESTIMATE],
};
const TOOL_LIMIT = {
  name: 'tool',
  bucket: { maxTokens: 1, refillPeriod: '1m' },
  per: [{ tool: {} }],
  when: [{ tool: { exact: 'search' } }, { tool: { prefix: 'se' } }],
};

const PLACE = {
  hostnames: ['chat.example.com'],
  pathPrefix: '/chat',
  targets: TARGETS,
  workloadSelector: { matchLabels: { app: 'vllm' } },
};
const RULE = {
  name: 'embeddings',
  matches: {
    path: { prefix: '/v1/embeddings' },
    headers: [...TEXTS.map((text) => ({ name: 'x-team', ...text })), { name: 'x-team', present: true }],
    methods: ['POST'],
  },
  targets: [...TARGETS].reverse(),
};
const BUCKET = { maxTokens: 7, refillPeriod: '1m', burst: 6 };

export const SPECIMENS: readonly Specimen[] = [
  {
    kind: 'ModelRoute',
    spec: {
      modelName: 'llama',
      loraAdapters: ['legal'],
      ...PLACE,
      rules: [RULE, { matches: { path: { exact: '/v1/models' } } }, { matches: { path: { regex: '/v1/.*' } } }],
      authentication: AUTHENTICATION,
      rateLimiting: { ...COMMON, redis: REDIS, limits: [...LIMITS, TOKENS] },
    },
  },
  {
    kind: 'ModelRoute',
    spec: { modelName: 'llama', authentication: JWKS_SECRET, rateLimiting: { redis: SENTINEL, limits: [LIMITS[1]] } },
  },
  { kind: 'ModelRoute', spec: { modelName: 'llama', rateLimiting: { redis: CLUSTER, limits: [LIMITS[1]] } } },
  { kind: 'ModelRoute', spec: { modelName: 'llama', rateLimiting: { redis: REDIS, limits: [LIMITS[1]] } } },
  {
    kind: 'ModelRoute',
    spec: {
      modelName: 'llama',
      authentication: { required: true, trustedHeaders: AUTHENTICATION.trustedHeaders, trustedPeers: ['10.0.0.0/8'] },
    },
  },
  {
    kind: 'MCPServer',
    spec: {
      transport: 'sse',
      ...PLACE,
      authentication: AUTHENTICATION,
      rateLimiting: {
        ...COMMON,
        redis: REDIS,
        limits: [...LIMITS, TOOL_LIMIT],
        shared: BUCKET,
        perUser: BUCKET,
        tools: [
          { name: 'search', shared: BUCKET, perUser: BUCKET, price: '1' },
          { name: 'fetch', global: BUCKET },
        ],
      },
    },
  },
  {
    kind: 'MCPServer',
    spec: {
      authentication: JWKS_SECRET,
      rateLimiting: {
        redis: SENTINEL,
        global: BUCKET,
        limits: [{ ...TOOL_LIMIT, cachedInputWeight: '1' }],
      },
    },
  },
  { kind: 'MCPServer', spec: { rateLimiting: { redis: CLUSTER, shared: BUCKET } } },
  { kind: 'MCPServer', spec: { rateLimiting: { redis: REDIS, shared: BUCKET } } },
];

/** Fields that a kind has by its schema and refuses by its rules: each with an object that is refused for it. */
export const ALWAYS_REFUSED: readonly (Specimen & { readonly fields: readonly string[] })[] = [
  {
    kind: 'ModelRoute',
    fields: ['per[].tool', 'when[].tool', 'when[].tool.exact', 'when[].tool.prefix'],
    spec: { modelName: 'llama', rateLimiting: { limits: [TOOL_LIMIT] } },
  },
  {
    kind: 'MCPServer',
    fields: ['when[].estimate', 'when[].estimate.measure', 'when[].estimate.atLeast'],
    spec: { rateLimiting: { limits: [{ ...TOOL_LIMIT, when: [ESTIMATE] }] } },
  },
];
