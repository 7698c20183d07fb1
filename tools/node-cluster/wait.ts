// Stage: waiting. Input: a probe and a deadline. Output: the first value that the probe finds, or an error that says
// what was missing.
import { setTimeout as pause } from 'node:timers/promises';

export interface WaitOptions {
  readonly deadlineMs: number;
  /** Gives what the work has come to: the deadline begins anew with each change of it. */
  readonly progress?: () => unknown;
  /** Pause between two probes. */
  readonly everyMs?: number;
}

/**
 * Resolves with the first value of `probe` that is not undefined. An exception of the probe counts as "not yet" and is
 * the cause of the error at the deadline, so that a wait that failed tells why.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  { deadlineMs, everyMs = 50, progress }: WaitOptions,
): Promise<T> {
  let end = performance.now() + deadlineMs;
  let reached = progress?.();
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined) return value;
      last = undefined;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      last = error;
    }
    const now = progress?.();
    if (now !== reached) [end, reached] = [performance.now() + deadlineMs, now];
    if (performance.now() >= end) throw new Error(`${what}: not within ${deadlineMs} ms`, { cause: last });
    await pause(everyMs);
  }
}

/** Thrown by a probe when more waiting cannot help, such as for a process that has ended. */
export class Hopeless extends Error {}
