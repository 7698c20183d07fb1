// Lib: shares of the event loop. In: long work that is cut into slices, and short work of which much comes at once;
// out: of either so much in a turn of the loop that many tasks together hold up nobody longer than one does.

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

/**
 * Begins short tasks, at most `perTurn` in a turn of the event loop. Those that are over wait for later turns; of each
 * group one begins after the other, and no group waits for all tasks of another.
 */
export class Starts {
  readonly #perTurn: number;
  #left: number;
  #isScheduled = false;
  readonly #waiting = new Map<object, (() => void)[]>();

  constructor(perTurn: number) {
    this.#perTurn = perTurn;
    this.#left = perTurn;
  }

  /** Runs `task`, which must not throw: at once, or in a later turn. */
  begin(group: object, task: () => void): void {
    this.#schedule();
    if (this.#left > 0) this.#run(task);
    else {
      const others = this.#waiting.get(group);
      if (others === undefined) this.#waiting.set(group, [task]);
      else others.push(task);
    }
  }

  /** Nobody needs the tasks of this group any more: those that wait never begin, and are in nobody's way. */
  forget(group: object): void {
    this.#waiting.delete(group);
  }

  #run(task: () => void): void {
    this.#left -= 1;
    task();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#left = this.#perTurn;
      while (this.#left > 0 && this.#waiting.size > 0) this.#runOfEachGroup();
    });
  }

  #runOfEachGroup(): void {
    for (const [group, tasks] of this.#waiting) {
      if (this.#left === 0) return;
      // To the end of the line.
      this.#waiting.delete(group);
      const task = tasks.shift();
      if (tasks.length > 0) this.#waiting.set(group, tasks);
      if (task === undefined) continue;
      this.#schedule();
      this.#run(task);
    }
  }
}
