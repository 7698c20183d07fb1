// Test part: the store's arithmetic once more, slowly and in whole numbers of any size. Input: claims and times;
// output: what every store must answer. A bucket is a rational number of units used, kept over one denominator.
import type { BucketRule } from '../../../src/contract/limiter-config.ts';

/** used = numerator / refillPeriodMicros units. Only one rule for its whole life; times only go forward. */
export class ModelBucket {
  readonly #rate: bigint;
  readonly #period: bigint;
  readonly #capacity: bigint;
  #numerator = 0n;
  #at = 0n;

  constructor(rule: BucketRule) {
    this.#rate = BigInt(rule.maxTokens);
    this.#period = BigInt(rule.refillPeriodMicros);
    this.#capacity = BigInt(rule.burst);
  }

  /** µs until `amount` fits; 0n: now; undefined: never. */
  wait(amount: number, nowMicros: number): bigint | undefined {
    this.#advance(nowMicros);
    if (BigInt(amount) > this.#capacity) return undefined;
    const missing = this.#numerator + BigInt(amount) * this.#period - this.#capacity * this.#period;
    return missing <= 0n ? 0n : ceilDivide(missing, this.#rate);
  }

  charge(amount: number, nowMicros: number): void {
    this.#advance(nowMicros);
    this.#numerator += BigInt(amount) * this.#period;
    if (this.#numerator < 0n) this.#numerator = 0n;
  }

  remaining(nowMicros: number): bigint {
    this.#advance(nowMicros);
    const free = this.#capacity * this.#period - this.#numerator;
    return free <= 0n ? 0n : free / this.#period;
  }

  reset(nowMicros: number): bigint {
    this.#advance(nowMicros);
    return ceilDivide(this.#numerator, this.#rate);
  }

  #advance(nowMicros: number): void {
    const now = BigInt(nowMicros);
    if (now <= this.#at) return;
    this.#numerator -= (now - this.#at) * this.#rate;
    if (this.#numerator < 0n) this.#numerator = 0n;
    this.#at = now;
  }
}

function ceilDivide(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}
