// Controller, push: the names that wait for a limiter's next response. In: names; out: the same, in the order in which
// they must arrive.
import { FLEET_RESOURCE_NAME, isSharersName } from '../../contract/limiter-config.ts';

/**
 * The Fleet goes first: it says what the targets of the others may be. Then Sharers: a limiter that has an object
 * knows with how many it shares the buckets.
 */
export class PendingNames {
  #isFleet = false;
  readonly #sharers = new Set<string>();
  readonly #others = new Set<string>();

  constructor(names: Iterable<string>) {
    for (const name of names) this.add(name);
  }

  get size(): number {
    return Number(this.#isFleet) + this.#sharers.size + this.#others.size;
  }

  add(name: string): void {
    if (name === FLEET_RESOURCE_NAME) this.#isFleet = true;
    else if (isSharersName(name)) this.#sharers.add(name);
    else this.#others.add(name);
  }

  delete(name: string): void {
    if (name === FLEET_RESOURCE_NAME) this.#isFleet = false;
    else if (!this.#sharers.delete(name)) this.#others.delete(name);
  }

  /** Without a copy: asked for at each response, which takes few of the names. Names may be deleted meanwhile. */
  *inOrder(): Generator<string> {
    if (this.#isFleet) yield FLEET_RESOURCE_NAME;
    yield* this.#sharers;
    yield* this.#others;
  }
}
