// CLI: how a running command is stopped. Input: SIGTERM and SIGINT. Output: an AbortSignal, and a promise of it.

/** Aborted by the first SIGTERM or SIGINT; the second one ends the process, as it does by default. */
export function terminationSignal(): AbortSignal {
  const told = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      told.abort();
    });
  }
  return told.signal;
}

/** Resolves when the signal is aborted. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}
