// Limiter, request: a body that does not arrive in time is not waited for. In: the reading of a body; out: what was
// read, or 408.
import { WeirError } from '../../lib/errors.ts';

/** Waits for `reading`, at most `deadlineMs`. @throws WeirError request_timeout; what `reading` rejects with */
export async function inTime<T>(reading: Promise<T>, deadlineMs: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const deadline = setTimeout(() => {
    reject(new WeirError('request_timeout', 'the body did not arrive in time'));
  }, deadlineMs);
  try {
    return await Promise.race([reading, promise]);
  } finally {
    clearTimeout(deadline);
  }
}
