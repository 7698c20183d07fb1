// Limiter, decide: amounts. What a request is estimated to use before its answer, what it really used, and how it
// ended; a limit's `charge` turns each into whole units.

/**
 * What a request used, in one normal form. An absent member is not known. `input` is all input: `cachedInput` and
 * `cacheWrite` are parts of it, whoever the provider is; `reasoning` is a part of `output`.
 */
export interface Usage {
  readonly requests: number;
  readonly input?: number;
  readonly cachedInput?: number;
  readonly cacheWrite?: number;
  readonly output?: number;
  readonly reasoning?: number;
}

/** Before the answer: `floor` is certainly used (too large when it never fits), `full` is reserved. */
export interface Estimate {
  readonly floor: Usage;
  readonly full: Usage;
}

/**
 * How a request ended. refund: nothing was used. as-reserved: what was reserved stays charged. used: the truth, of each
 * ask of the decision, beyond what was reserved into debt; `source` says how it is known.
 */
export type Ending =
  | { readonly kind: 'refund' }
  | { readonly kind: 'as-reserved' }
  | { readonly kind: 'used'; readonly usage: Usage; readonly source: 'reported' | 'counted' | 'estimated' };

export const REFUND: Ending = { kind: 'refund' };
export const AS_RESERVED: Ending = { kind: 'as-reserved' };

/**
 * What a limit takes for a use, in whole units (perhaps more than a take may be); `model` as the caller named it. Pure
 * and total.
 * undefined: the usage does not tell (the number is absent, negative, a fraction, NaN or beyond 2^53).
 */
export type Charge = (usage: Usage, model: string | undefined) => number | undefined;

/** The estimate of `count` requests: what they use is known when they come. */
export function requestsEstimate(count: number): Estimate {
  const usage: Usage = { requests: count };
  return { floor: usage, full: usage };
}

export const ONE_REQUEST: Estimate = requestsEstimate(1);
