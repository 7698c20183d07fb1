// Benchmarks, a cap on a process's memory, as a container has it. In: MiB; out: the command that begins a process
// under it, and the most that it used; undefined where this machine lets nobody make a control group (then only the
// process's own figures say something).
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface MemoryCap {
  /** Put before a command. */
  readonly prefix: readonly string[];
  /** Ends the group; its processes must have ended. */
  remove(): void;
}

/** Version 1 and 2 of control groups: where a group is made, and the file that bounds it. */
const LAYOUTS = [
  ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
  ['/sys/fs/cgroup', 'memory.max'],
] as const;

export function capMemory(limitMiB: number): MemoryCap | undefined {
  for (const [root, file] of LAYOUTS) {
    const group = join(root, `weir-bench-${process.pid}`);
    try {
      mkdirSync(group);
    } catch {
      continue;
    }
    const remove = (): void => {
      rmdirSync(group);
    };
    try {
      writeFileSync(join(group, file), String(limitMiB * 2 ** 20));
      readFileSync(join(group, 'cgroup.procs'));
    } catch {
      remove();
      continue;
    }
    // Within it from the start: Node sizes its heap by what it finds then.
    return { prefix: ['sh', '-c', `echo $$ > ${join(group, 'cgroup.procs')} && exec "$0" "$@"`], remove };
  }
  return undefined;
}
