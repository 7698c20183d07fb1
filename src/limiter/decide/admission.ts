// Limiter, decide: what an admitted request took, until it is settled. In: a reservation and where it was taken; out:
// one settlement to the truth. Held by the request alone, so that no request is too long to be settled.
import type { LocalShares } from './degrade.ts';
import type { Planned } from './plan.ts';
import type { Ending, Usage } from './usage.ts';
import { MAX_AMOUNT } from '../store/rule/bucket-state.ts';
import { StoreUnavailable, type Reservation, type Store } from '../store/store.ts';

/** unavailable: the store neither took the settlement nor keeps it for later. failed: a fault of the limiter. */
export type SettleOutcome = 'settled' | 'repeated' | 'unavailable' | 'failed';

/** Where a reservation was taken. */
export type TakenFrom = { readonly store: Store; readonly takenAtMicros: number } | { readonly shares: LocalShares };

/** One admitted reservation. */
export class Admission {
  readonly #reservation: Reservation;
  /** In the order of the takes. */
  readonly #planned: readonly Planned[];
  readonly #takenFrom: TakenFrom;
  readonly #onFault: (error: unknown) => void;
  #isSettled = false;

  /** `onFault` is called with what a store throws that is no outage; must not throw. */
  constructor(
    reservation: Reservation,
    planned: readonly Planned[],
    takenFrom: TakenFrom,
    onFault: (error: unknown) => void,
  ) {
    this.#reservation = reservation;
    this.#planned = planned;
    this.#takenFrom = takenFrom;
    this.#onFault = onFault;
  }

  /** Of the decision; unique. */
  get id(): string {
    return this.#reservation.id;
  }

  /**
   * Settles, however late; the first ending wins. `as-reserved` costs no store call, and so does a usage that tells
   * nothing else. When the store does not answer, the store keeps the settlement and repeats it. Never rejects.
   */
  async settle(ending: Ending): Promise<SettleOutcome> {
    if (this.#isSettled) return 'repeated';
    this.#isSettled = true;
    try {
      return await this.#settleOnce(ending);
    } catch (error) {
      if (error instanceof StoreUnavailable) return 'unavailable';
      this.#onFault(error);
      return 'failed';
    }
  }

  async #settleOnce(ending: Ending): Promise<SettleOutcome> {
    const { takes } = this.#reservation;
    const actual = actualOf(ending, this.#planned);
    if (actual.every((units, index) => units === takes[index]?.amount)) return 'settled';
    if ('shares' in this.#takenFrom) {
      this.#takenFrom.shares.giveBack(takes, actual);
      return 'settled';
    }
    const { store, takenAtMicros } = this.#takenFrom;
    const { applied } = await store.settle({ reservation: this.#reservation, actual, takenAtMicros });
    return applied ? 'settled' : 'repeated';
  }
}

function actualOf(ending: Ending, planned: readonly Planned[]): readonly number[] {
  switch (ending.kind) {
    case 'refund':
      return planned.map(() => 0);
    case 'as-reserved':
      return planned.map(({ take }) => take.amount);
    case 'used':
      return planned.map((each) => chargedFor(ending.usage, each) ?? each.take.amount);
  }
}

/** Of all asks that took from this bucket; undefined: the usage does not tell. */
function chargedFor(usage: Usage, { limit, asks }: Planned): number | undefined {
  let sum = 0;
  for (const { facts } of asks) {
    const units = limit.charge(usage, facts.model);
    if (units === undefined) return undefined;
    sum += units;
  }
  return Math.min(sum, MAX_AMOUNT);
}
