// CLI: memory that a process holds and does not need. In: nothing; out: what reading and compiling the program took
// is given back, and the heap of a limiter grows by what lives in it and not by what has died.
import { setFlagsFromString } from 'node:v8';

/**
 * Collects garbage and shrinks the heap, once: before the first request of a limiter, or when an operator is ready,
 * whose lists of ten thousand objects are garbage by then. Starting makes tens of MiB of it, or hundreds, that Node
 * would keep as room for more. Stops everything for about 40 ms (some 300 ms with ten thousand objects). Without
 * `--expose-gc` (which `bin/weir` gives) it does nothing.
 */
export function freeStartMemory(): void {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/**
 * Share of the living heap, in per cent, by which it may grow before what is old is collected; V8's own choice is up
 * to 300.
 */
const OLD_GROWTH_PERCENT = 20;

/**
 * Each of a hundred thousand callers lives for long in a limiter and is small; the garbage between them would be half
 * of its memory. What it costs in CPU is lost in the noise (docs/adr/memory-of-a-process.md), because little of what
 * a request makes grows old.
 */
export function collectOldOften(): void {
  setFlagsFromString(`--heap-growing-percent=${OLD_GROWTH_PERCENT}`);
}
