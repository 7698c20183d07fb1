// Limiter, request stage: one bound on the bytes of all request bodies that the process holds, as sent and as
// decoded. In: bytes as they come; out: room for them, or a WeirError over_capacity.
import { WeirError } from '../../lib/errors.ts';

/** A body up to this size may use the whole budget; larger ones leave a quarter of it to small ones. */
export const SMALL_BODY_BYTES = 64 * 1024;
const SHARE_OF_LARGE = 0.75;
/** A large body that comes slower than this over a whole window gives way when room is needed. */
const SLOW_WINDOW_MS = 2_000;
const SLOW_WINDOW_BYTES = 128 * 1024;
/** The most room that a body has taken ahead. */
const MAX_AHEAD_BYTES = 64 * 1024;

/** The bytes of one process. */
export class BodyBudget {
  readonly #limitBytes: number;
  readonly #nowMs: () => number;
  readonly #receiving = new Set<BodyHold>();
  #held = 0;
  #refused = 0;

  /** @param nowMs a clock that never goes back */
  constructor(limitBytes: number, nowMs: () => number) {
    this.#limitBytes = limitBytes;
    this.#nowMs = nowMs;
  }

  /** Room that is taken: what is held, and a little that its bodies have ahead. */
  get heldBytes(): number {
    return this.#held;
  }

  /** Bodies that were refused so far, or given up for the sake of others. */
  get refusedBodies(): number {
    return this.#refused;
  }

  get nowMs(): number {
    return this.#nowMs();
  }

  /** A hold of nothing yet, for one request. */
  open(): BodyHold {
    return new BodyHold(this);
  }

  /** @throws WeirError over_capacity when there is no room and no slow body gives way */
  take(hold: BodyHold, bytes: number): void {
    while (!this.hasRoom(hold, bytes)) {
      const slow = this.#slowest(hold);
      this.#refused += 1;
      if (slow === undefined) throw overCapacity();
      slow.giveWay(overCapacity());
    }
    this.#held += bytes;
  }

  hasRoom(hold: BodyHold, bytes: number): boolean {
    const isSmall = hold.bytes + bytes <= SMALL_BODY_BYTES;
    return this.#held + bytes <= this.#limitBytes * (isSmall ? 1 : SHARE_OF_LARGE);
  }

  give(bytes: number): void {
    this.#held -= bytes;
  }

  /** `hold` is still being received: it may have to give way. */
  receiving(hold: BodyHold, isReceiving: boolean): void {
    if (isReceiving) this.#receiving.add(hold);
    else this.#receiving.delete(hold);
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
  /** Taken of the budget, and how much of that is not used yet. */
  #bytes = 0;
  #ahead = 0;
  #isReleased = false;
  #onGiveWay: ((error: WeirError) => void) | undefined;
  #window = { startMs: 0, bytes: 0, wasSlow: false };

  constructor(budget: BodyBudget) {
    this.#budget = budget;
  }

  /** Room that it has taken. */
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

  /** No more will come. */
  received(): void {
    this.#onGiveWay = undefined;
    this.#budget.receiving(this, false);
    this.give(this.#ahead);
    this.#ahead = 0;
  }

  /** Takes room for bytes that came or were made. @throws WeirError over_capacity; invalid_request once released */
  take(bytes: number): void {
    if (bytes <= this.#ahead) {
      this.#ahead -= bytes;
      return;
    }
    if (this.#isReleased) throw new WeirError('invalid_request', 'the connection closed before the body was complete');
    const missing = bytes - this.#ahead;
    this.#budget.take(this, missing);
    this.#bytes += missing;
    this.#ahead = 0;
    this.#takeAhead();
    this.#noteProgress(missing + this.#ahead);
  }

  /** A body in pieces of a byte asks once for many of them. */
  #takeAhead(): void {
    const ahead = Math.min(this.#bytes >> 3, MAX_AHEAD_BYTES);
    if (ahead === 0 || !this.#budget.hasRoom(this, ahead)) return;
    this.#budget.take(this, ahead);
    this.#bytes += ahead;
    this.#ahead = ahead;
  }

  /** Gives bytes back that are not held any more. */
  give(bytes: number): void {
    if (this.#isReleased) return;
    const given = Math.min(bytes, this.#bytes);
    this.#bytes -= given;
    this.#budget.give(given);
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
