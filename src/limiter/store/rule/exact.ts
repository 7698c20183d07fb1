// Limiter, store arithmetic: exact whole-number multiply-and-divide on doubles. Input: whole numbers below 2^53;
// output: quotient and remainder without rounding. The Lua twin is lua/include/exact.lua.

/** Products below this are exact in a double, and so is their quotient. */
const FAST = 2 ** 52;
/** Whole numbers beyond 2^53 - 1 have no place in a double: a larger result is this one. */
export const MAX_WHOLE = Number.MAX_SAFE_INTEGER;

export interface Quotient {
  /** floor; at most MAX_WHOLE (a larger result is cut to it). */
  readonly whole: number;
  readonly rest: number;
}

/** floor((a * b + c) / d) and what is left over. a, b, c: whole, 0 <= x < 2^53; d: whole, 0 < d < 2^53. */
export function multiplyDivide(a: number, b: number, c: number, d: number): Quotient {
  const sum = a * b + c;
  if (sum < FAST) {
    const whole = Math.floor(sum / d);
    return { whole, rest: sum - whole * d };
  }
  const exact = BigInt(a) * BigInt(b) + BigInt(c);
  const divisor = BigInt(d);
  const whole = exact / divisor;
  return { whole: whole > BigInt(MAX_WHOLE) ? MAX_WHOLE : Number(whole), rest: Number(exact % divisor) };
}

/** Greatest common divisor of two whole numbers; gcd(0, b) = b. */
export function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
