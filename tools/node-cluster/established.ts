// Stage: kinds of a cluster. Input: kubectl and which CRDs; output: when the API server serves them.
import { waitFor } from './wait.ts';

const DEADLINE_MS = 30_000;

/**
 * Resolves when the CRDs that `which` names (arguments of kubectl) are served. Asks again: of one that was created a
 * moment ago `kubectl wait` says that its conditions are no list, and ends.
 */
export async function untilEstablished(
  mustKubectl: (args: readonly string[]) => Promise<string>,
  which: readonly string[],
): Promise<void> {
  await waitFor(
    `${which.join(' ')} to be established`,
    () => mustKubectl(['wait', '--for=condition=Established', '--timeout=10s', ...which]),
    { deadlineMs: DEADLINE_MS },
  );
}
