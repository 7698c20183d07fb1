// Limiter: models that requests named, that no route claims, and that the sidecar's server answered all the same. In:
// requests that passed unlimited; out: a few of the names, which change seldom however many names callers make up.
import { MOST_UNCLAIMED } from '../../contract/limiter-report.ts';

/** A name that no request repeats for this long is not reported any more, ms. */
export const FORGET_UNCLAIMED_MS = 600_000;
/** As long as the name of a route's model may be. */
const LONGEST_NAME = 253;

export class UnclaimedModels {
  /** Name -> when it was seen last, monotonic ms. */
  readonly #seen = new Map<string, number>();

  /** A request for a model passed. Once there are enough names, others are left out until these are forgotten. */
  passed(model: string, nowMs: number): void {
    const name = model.slice(0, LONGEST_NAME);
    if (this.#seen.has(name) || this.#seen.size < MOST_UNCLAIMED) this.#seen.set(name, nowMs);
  }

  /** Routes changed: what is claimed now is forgotten. */
  forgetClaimed(isClaimed: (model: string) => boolean): void {
    for (const name of this.#seen.keys()) if (isClaimed(name)) this.#seen.delete(name);
  }

  /** What is to be reported now, sorted. */
  names(nowMs: number): string[] {
    for (const [name, seenMs] of this.#seen) if (nowMs - seenMs > FORGET_UNCLAIMED_MS) this.#seen.delete(name);
    return [...this.#seen.keys()].sort();
  }
}
