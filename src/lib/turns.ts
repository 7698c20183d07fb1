// Lib: shares of the event loop. In: long work that is cut into slices; out: of all such work at most one slice in a
// turn of the loop, first come first served, so that many long tasks together hold up nobody longer than one does.

const waiting: (() => void)[] = [];
let isScheduled = false;

/** Resolves in a later turn of the event loop, for one caller per turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    schedule();
  });
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(() => {
    isScheduled = false;
    waiting.shift()?.();
    if (waiting.length > 0) schedule();
  });
}
