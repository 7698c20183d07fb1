// CLI: lines about statuses -> those that a reader needs. `weir standalone` starts its limiter after its operator, so
// each object is without a limiter for a moment.

/** Kind and name: what a line of a status begins with. */
const OBJECT = /^\S+ \S+/;
const NO_LIMITER = /: NoLimiters: /;

/**
 * Prints lines of statuses; a line that says NoLimiters only when no other of the same object has come within
 * `patienceMs`.
 */
export function patientPrint(print: (line: string) => void, patienceMs = 5_000): (line: string) => void {
  const held = new Map<string, NodeJS.Timeout>();
  return (line) => {
    const object = OBJECT.exec(line)?.[0] ?? line;
    clearTimeout(held.get(object));
    held.delete(object);
    if (!NO_LIMITER.test(line)) {
      print(line);
      return;
    }
    const later = setTimeout(() => {
      held.delete(object);
      print(line);
    }, patienceMs);
    held.set(object, later.unref());
  };
}
