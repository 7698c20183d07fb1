// Lib: what is known of anything that was thrown: its message, and its code when Node.js threw it.

/** The message, without its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** `ENOENT`, `EADDRINUSE` …; undefined for everything that has none. Asks the shape, not the class: realms differ. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
