// CLI: what starting leaves behind. In: nothing; out: the memory that reading and compiling the program took, given back.

/**
 * Collects garbage and shrinks the heap, once: before the first request of a limiter, or when an operator is ready, whose lists
 * of ten thousand objects are garbage by then. Starting makes tens of MiB of it, or hundreds, that Node would keep as room for
 * more. Stops everything for about 40 ms (some 300 ms with ten thousand objects). Without `--expose-gc` (which `bin/weir` gives) it does nothing.
 */
export function freeStartMemory(): void {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
