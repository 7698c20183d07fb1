// Limiter, refuse stage: one quota -> the header families that clients read.
import type { HeaderFamily, ResponseConfig } from '../../contract/limiter-config.ts';
import { MEASURES } from '../../contract/measures.ts';
import type { RefusalContext } from '../decide/decision.ts';
import { clientDuration, wholeSeconds, type Quota } from './quota.ts';

type Headers = Record<string, string>;

const FAMILY_OF_SHAPE: Readonly<Record<RefusalContext['shape'], HeaderFamily>> = {
  openai: 'OpenAI',
  anthropic: 'Anthropic',
  mcp: 'IETF',
  problem: 'IETF',
};

/**
 * Headers (lower-case names) of the configured families, or of the shape's own family when none is configured.
 * `retryAfterSeconds` is set on a refusal: the `t` of RateLimit then names the same moment as Retry-After, as
 * draft-ietf-httpapi-ratelimit-headers-10 asks.
 */
export function quotaHeaders(
  quota: Quota,
  context: Pick<RefusalContext, 'response' | 'shape'>,
  nowMicros: number,
  retryAfterSeconds?: number,
): Headers {
  const { response, shape } = context;
  const families = response.headers.length > 0 ? response.headers : [FAMILY_OF_SHAPE[shape]];
  return Object.assign(
    {},
    ...families.map((family) => familyHeaders(family, quota, response, nowMicros, retryAfterSeconds)),
  ) as Headers;
}

/** Text as a structured-field string (RFC 9651): quoted, only printable ASCII, `"` and `\` escaped. */
export function sfString(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, (character) => `\\${character}`)}"`;
}

function familyHeaders(
  family: HeaderFamily,
  quota: Quota,
  response: ResponseConfig,
  nowMicros: number,
  retryAfterSeconds: number | undefined,
): Headers {
  switch (family) {
    case 'IETF':
      return ietfHeaders(quota, retryAfterSeconds);
    case 'XRateLimit':
      return xRateLimitHeaders(quota, response.resetFormat, nowMicros);
    case 'OpenAI':
      return unitHeaders('x-ratelimit', MEASURES[quota.measure].headerUnit.OpenAI, quota, clientDuration(quota.resetMicros));
    case 'Anthropic':
      return anthropicHeaders(quota, nowMicros);
  }
}

function ietfHeaders(quota: Quota, retryAfterSeconds: number | undefined): Headers {
  const name = sfString(quota.name);
  const reset = retryAfterSeconds ?? Math.ceil(quota.resetMicros / 1_000_000);
  return {
    'ratelimit-policy': `${name};q=${quota.policyQuota};w=${quota.windowSeconds}`,
    ratelimit: `${name};r=${quota.remaining};t=${reset}`,
  };
}

function xRateLimitHeaders(quota: Quota, format: ResponseConfig['resetFormat'], nowMicros: number): Headers {
  const at =
    format === 'Epoch' ? wholeSeconds(nowMicros + quota.resetMicros) : Math.ceil(quota.resetMicros / 1_000_000);
  return {
    'x-ratelimit-limit': String(quota.limit),
    'x-ratelimit-remaining': String(quota.remaining),
    'x-ratelimit-reset': String(at),
  };
}

function unitHeaders(stem: string, unit: string | undefined, quota: Quota, reset: string): Headers {
  if (unit === undefined) return {};
  return {
    [`${stem}-limit-${unit}`]: String(quota.limit),
    [`${stem}-remaining-${unit}`]: String(quota.remaining),
    [`${stem}-reset-${unit}`]: reset,
  };
}

function anthropicHeaders(quota: Quota, nowMicros: number): Headers {
  const unit = MEASURES[quota.measure].headerUnit.Anthropic;
  if (unit === undefined) return {};
  const stem = `anthropic-ratelimit-${unit}`;
  return {
    [`${stem}-limit`]: String(quota.limit),
    [`${stem}-remaining`]: String(quota.remaining),
    [`${stem}-reset`]: rfc3339(nowMicros + quota.resetMicros),
  };
}

/** Whole seconds, rounded up: `2026-01-31T12:00:00Z`. Years beyond 9999 do not exist in RFC 3339 and are capped. */
function rfc3339(micros: number): string {
  const ms = Math.min(Math.ceil(micros / 1_000_000) * 1000, Date.UTC(9999, 11, 31, 23, 59, 59));
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
