// Benchmarks, what their figures are made of. In: times in ms, a seed; out: quantiles, and numbers that are the same
// in every run.

/** How long something took, over many times: ms. */
export interface Times {
  readonly count: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly worstMs: number;
}

/** The seed of every row that draws numbers. */
export const SEED = 42;

export function timesOf(values: readonly number[]): Times {
  return {
    count: values.length,
    medianMs: quantile(values, 0.5),
    p99Ms: quantile(values, 0.99),
    worstMs: quantile(values, 1),
  };
}

/** The value below which the share `at` of them lies, to three decimals; NaN of none. */
export function quantile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(at * sorted.length))] ?? NaN;
  return Math.round(value * 1_000) / 1_000;
}

/** Draws integers in [0, below), the same ones in every run. */
export function drawer(below: number, seed = SEED): () => number {
  let random = seed;
  return () => {
    random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
    return random % below;
  };
}
