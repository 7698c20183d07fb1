// Leaf: the code of an error of Node.js.

/** `ENOENT`, `EADDRINUSE` …; undefined for everything that has none. Asks the shape, not the class: realms differ. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
