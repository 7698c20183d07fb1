// CRD: what an absent field means; in: nothing, out: the one table that `kubectl explain`, the compiler and the
// reference read. The API server fills in none of these: what is stored is what was written, so that applying a file
// twice changes nothing and two field managers with one manifest do not conflict.

/** By owner: the fields of a spec that have a fixed default. */
export const DEFAULTS = {
  mcpServer: { transport: 'streamable-http' },
  target: { weight: 1, credentialHeader: 'authorization', streamUsage: 'Auto', engine: 'Generic' },
  authentication: {
    required: true,
    apiKeyHeaders: ['authorization', 'x-api-key', 'api-key'],
    userClaim: 'sub',
    trustedHops: 0,
  },
  rateLimiting: {
    scope: 'Shared',
    enforcement: 'Enforce',
    consistency: 'Exact',
    currency: 'USD',
    unmetered: 'Refuse',
  },
  limit: { measure: 'Requests', priority: 0, cost: 1, cachedInputWeight: '1', cutStreams: false },
  keyPart: { whenAbsent: 'Share', prefixV4: 32, prefixV6: 64 },
  match: { not: false },
  timeZone: 'UTC',
  estimation: {
    input: 'Auto',
    output: 'Learned',
    defaultOutputTokens: 1024,
    perImage: 1500,
    perAudioSecond: 25,
    perFilePage: 1500,
    enforce: false,
  },
  response: { dialect: 'Auto', resetFormat: 'Delta', mcpForm: 'ToolResult', mcpCode: 429, cors: 'Mirror' },
  adaptive: { timeConstant: '15s', scope: 'Model', minSamples: 5, probe: 1 },
} as const;
