// Limiter, refuse stage: one quota -> the header families that clients read. `RateLimit` and `X-RateLimit` belong to no
// dialect and are written here.
import type { HeaderFamily, ResponseConfig } from '../../contract/limiter-config.ts';
import type { RefusalContext } from '../decide/decision.ts';
import { anthropicHeaders } from './anthropic.ts';
import { DIALECTS } from './dialects.ts';
import { openAiHeaders } from './openai.ts';
import { wholeSeconds, type Quota } from './quota.ts';
import type { ReplyHeaders } from './refusal.ts';

/** When, and in which form, a quota is written. */
interface Writing {
  readonly response: ResponseConfig;
  readonly nowMicros: number;
  readonly retryAfterSeconds: number | undefined;
}

const FAMILIES: Readonly<Record<HeaderFamily, (quota: Quota, writing: Writing) => ReplyHeaders>> = {
  IETF: ietfHeaders,
  XRateLimit: xRateLimitHeaders,
  OpenAI: openAiHeaders,
  Anthropic: (quota, { nowMicros }) => anthropicHeaders(quota, nowMicros),
};

/**
 * Headers (lower-case names) of the configured families, or of the dialect's own family when none is configured.
 * `retryAfterSeconds` is set on a refusal: the `t` of RateLimit then names the same moment as Retry-After, as
 * draft-ietf-httpapi-ratelimit-headers-10 asks.
 */
export function quotaHeaders(
  quota: Quota,
  { response, shape }: Pick<RefusalContext, 'response' | 'shape'>,
  nowMicros: number,
  retryAfterSeconds?: number,
): Record<string, string> {
  const families = response.headers.length > 0 ? response.headers : [DIALECTS[shape].family];
  const all: Record<string, string> = {};
  for (const family of families)
    Object.assign(all, FAMILIES[family](quota, { response, nowMicros, retryAfterSeconds }));
  return all;
}

/** Text as a structured-field string (RFC 9651): quoted, only printable ASCII, `"` and `\` escaped. */
export function sfString(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, (character) => `\\${character}`)}"`;
}

function ietfHeaders(quota: Quota, { retryAfterSeconds }: Writing): ReplyHeaders {
  const name = sfString(quota.name);
  const reset = retryAfterSeconds ?? Math.ceil(quota.resetMicros / 1_000_000);
  return {
    'ratelimit-policy': `${name};q=${quota.policyQuota};w=${quota.windowSeconds}`,
    ratelimit: `${name};r=${quota.remaining};t=${reset}`,
  };
}

function xRateLimitHeaders(quota: Quota, { response, nowMicros }: Writing): ReplyHeaders {
  const isMoment = response.resetFormat === 'Epoch';
  const at = isMoment ? wholeSeconds(nowMicros + quota.resetMicros) : Math.ceil(quota.resetMicros / 1_000_000);
  return {
    'x-ratelimit-limit': String(quota.limit),
    'x-ratelimit-remaining': String(quota.remaining),
    'x-ratelimit-reset': String(at),
  };
}
