// Stage: program cache. Input: the path of a lock. Output: one piece of work at a time among all processes that share
// the cache.
import { mkdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { waitFor } from './wait.ts';

/** The holder shows that it lives this often; a lock older than `staleMs` belongs to a holder that was killed. */
const heartbeatMs = 2_000;
const staleMs = 15_000;

/**
 * Two processes that find the same dead lock in the same instant may both get through. Then both build and the second
 * rename wins, with the same bytes: the lock saves work, correctness does not rest on it.
 */
export async function withLock<T>(path: string, deadlineMs: number, work: () => Promise<T>): Promise<T> {
  await waitFor(`lock ${path}`, () => take(path), { deadlineMs, everyMs: 50 });
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, heartbeatMs);
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    await rm(path, { recursive: true, force: true });
  }
}

async function take(path: string): Promise<true | undefined> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  await removeStale(path);
  return undefined;
}

/** Renamed first, because only one process can rename it. */
async function removeStale(path: string): Promise<void> {
  const { mtimeMs } = await stat(path);
  if (Date.now() - mtimeMs < staleMs) return;
  const removed = `${path}.stale.${process.pid}`;
  await rename(path, removed);
  await rm(removed, { recursive: true, force: true });
}
