// Controller: who may write. Input: a lease, or nothing where there is only one operator. Output: whether this
// process is the one that serves limiters and writes statuses (docs/adr/leader-serves-limiters.md).

export interface Leadership {
  /**
   * True only while the lease is certainly held: false from its deadline on, by the monotonic clock, whatever was
   * heard.
   */
  isLeader(): boolean;
  /** Until when the lease is held unless it is renewed, monotonic ms; Infinity without a lease. */
  deadlineMs(): number;
  /** Calls `listener` when the lease was taken (true) or lost (false). */
  onChange(listener: (isLeader: boolean) => void): void;
}

/** For an operator that is the only one. */
export const ALWAYS_LEADER: Leadership = {
  isLeader: () => true,
  deadlineMs: () => Infinity,
  onChange: () => undefined,
};
