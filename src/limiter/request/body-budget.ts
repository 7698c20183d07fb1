// Limiter, request stage: one bound on the bytes of all request bodies that the process holds, as sent and as decoded. In:
// bytes as they come; out: room for them, or a WeirError over_capacity.
import { WeirError } from '../../lib/errors.ts';

/** What a budget reports; both are called with each change. */
export interface BudgetObserver {
  /** Bytes held now. */
  held(bytes: number): void;
  /** A body was refused, or given up for the sake of others. */
  refused(): void;
}

export interface BudgetOptions {
  readonly limitBytes: number;
  readonly nowMs: () => number;
  readonly observer?: BudgetObserver;
}

/** A body up to this size may use the whole budget; larger ones leave a quarter of it to small ones. */
export const SMALL_BODY_BYTES = 64 * 1024;
const SHARE_OF_LARGE = 0.75;
/** A large body that comes slower than this over a whole window gives way when room is needed. */
const SLOW_WINDOW_MS = 2_000;
const SLOW_WINDOW_BYTES = 128 * 1024;

/** The bytes of one process. */
export class BodyBudget {
  readonly #options: BudgetOptions;
  readonly #receiving = new Set<BodyHold>();
  #held = 0;

  constructor(options: BudgetOptions) {
    this.#options = options;
  }

  get heldBytes(): number {
    return this.#held;
  }

  get nowMs(): number {
    return this.#options.nowMs();
  }

  /** A hold of nothing yet, for one request. */
  open(): BodyHold {
    return new BodyHold(this);
  }

  /** @throws WeirError over_capacity when there is no room and no slow body gives way */
  take(hold: BodyHold, bytes: number): void {
    const { limitBytes, observer } = this.#options;
    const limit = hold.bytes + bytes <= SMALL_BODY_BYTES ? limitBytes : limitBytes * SHARE_OF_LARGE;
    while (this.#held + bytes > limit) {
      const slow = this.#slowest(hold);
      observer?.refused();
      if (slow === undefined) throw overCapacity();
      slow.giveWay(overCapacity());
    }
    this.#change(bytes);
  }

  give(bytes: number): void {
    this.#change(-bytes);
  }

  /** `hold` is still being received: it may have to give way. */
  receiving(hold: BodyHold, isReceiving: boolean): void {
    if (isReceiving) this.#receiving.add(hold);
    else this.#receiving.delete(hold);
  }

  #change(bytes: number): void {
    this.#held += bytes;
    this.#options.observer?.held(this.#held);
  }

  /** The largest of the large bodies that are slow to come. */
  #slowest(other: BodyHold): BodyHold | undefined {
    let found: BodyHold | undefined;
    for (const hold of this.#receiving) {
      if (hold === other || hold.bytes <= Math.max(SMALL_BODY_BYTES, found?.bytes ?? 0) || !hold.isSlow) continue;
      found = hold;
    }
    return found;
  }
}

/** What one request holds of the budget. */
export class BodyHold {
  readonly #budget: BodyBudget;
  #bytes = 0;
  #isReleased = false;
  #onGiveWay: ((error: WeirError) => void) | undefined;
  #window = { startMs: 0, bytes: 0, wasSlow: false };

  constructor(budget: BodyBudget) {
    this.#budget = budget;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Of the current window, once it is over, else of the one before; nothing at all came after two. */
  get isSlow(): boolean {
    const { startMs, bytes, wasSlow } = this.#window;
    const windows = (this.#budget.nowMs - startMs) / SLOW_WINDOW_MS;
    if (windows < 1) return wasSlow;
    return windows >= 2 || bytes < SLOW_WINDOW_BYTES;
  }

  /**
   * The body begins to come. Until {@link received}, `onGiveWay` may be called once, when others need the room; what it
   * took is released then.
   */
  receive(onGiveWay: (error: WeirError) => void): void {
    this.#onGiveWay = onGiveWay;
    this.#window = { startMs: this.#budget.nowMs, bytes: 0, wasSlow: false };
    this.#budget.receiving(this, true);
  }

  received(): void {
    this.#onGiveWay = undefined;
    this.#budget.receiving(this, false);
  }

  /** Takes room for bytes that came or were made. @throws WeirError over_capacity; invalid_request once released */
  take(bytes: number): void {
    if (this.#isReleased) throw new WeirError('invalid_request', 'the connection closed before the body was complete');
    this.#budget.take(this, bytes);
    this.#bytes += bytes;
    this.#noteProgress(bytes);
  }

  /** Gives bytes back that are not held any more. */
  give(bytes: number): void {
    if (this.#isReleased) return;
    this.#bytes -= bytes;
    this.#budget.give(bytes);
  }

  /** Gives everything back, once; the bytes must not be used any more. */
  release(): void {
    if (this.#isReleased) return;
    this.received();
    this.give(this.#bytes);
    this.#isReleased = true;
  }

  giveWay(error: WeirError): void {
    const onGiveWay = this.#onGiveWay;
    this.release();
    onGiveWay?.(error);
  }

  #noteProgress(bytes: number): void {
    const { startMs, bytes: before } = this.#window;
    const nowMs = this.#budget.nowMs;
    if (nowMs - startMs < SLOW_WINDOW_MS) this.#window.bytes += bytes;
    else this.#window = { startMs: nowMs, bytes, wasSlow: before < SLOW_WINDOW_BYTES };
  }
}

function overCapacity(): WeirError {
  return new WeirError('over_capacity');
}
