// CLI: what starting leaves behind. In: nothing; out: the memory that reading and compiling the program took, given back.

/**
 * Collects garbage and shrinks the heap, once, before the first request: starting makes tens of MiB of garbage that Node would
 * keep as room for more. Stops everything for about 40 ms. Without `--expose-gc` (which `bin/weir` gives) it does nothing.
 */
export function freeStartMemory(): void {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
