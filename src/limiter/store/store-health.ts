// Limiter, store: how one store does, without haste. Input: its examinations, one after the other; output:
// unreachable after some bad ones in a row, well again after more good ones in a row, so that a store that comes and
// goes is told once.
import type { StoreTrouble } from '../../contract/limiter-report.ts';
import type { Examination } from './store.ts';

/** Bad examinations in a row that make a store unreachable. */
export const BAD_TO_TELL = 3;
/** Good examinations in a row that take it back. */
export const GOOD_TO_TELL = 5;
const NO_EVICTION = 'noeviction';

export class StoreHealth {
  readonly #store: string;
  #bad = 0;
  #good = 0;
  #unreachable: string | undefined;
  /** The last words of trouble, and how often in a row. */
  #detail = '';
  #sameDetail = 0;
  #evictionPolicy = NO_EVICTION;

  constructor(store: string) {
    this.#store = store;
  }

  note({ reachable, detail, evictionPolicy }: Examination): void {
    this.#evictionPolicy = evictionPolicy ?? this.#evictionPolicy;
    this.#good = reachable ? this.#good + 1 : 0;
    this.#bad = reachable ? 0 : this.#bad + 1;
    this.#sameDetail = !reachable && detail === this.#detail ? this.#sameDetail + 1 : 1;
    this.#detail = detail;
    // Other words replace the first ones when they stay: a cause that shows in several ways is one outage, told once.
    const isNew = this.#unreachable === undefined || this.#sameDetail >= BAD_TO_TELL;
    if (this.#bad >= BAD_TO_TELL && isNew) this.#unreachable = detail;
    if (this.#good >= GOOD_TO_TELL) this.#unreachable = undefined;
  }

  get trouble(): StoreTrouble | undefined {
    const store = this.#store;
    if (this.#unreachable !== undefined) return { store, kind: 'unreachable', detail: this.#unreachable };
    if (this.#evictionPolicy === NO_EVICTION) return undefined;
    return { store, kind: 'evicts', detail: `maxmemory-policy ${this.#evictionPolicy}` };
  }
}
