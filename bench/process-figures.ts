// Benchmarks, what a process costs. In: its id; out: CPU time and memory, as Linux tells them in /proc.
import { readFile } from 'node:fs/promises';

/** Ticks per second of /proc/<pid>/stat: 100 on every Linux that Node.js runs on. */
const TICKS_PER_SECOND = 100;

/** CPU time used so far, user and system, ms. */
export async function cpuMsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}

/** Resident memory now, and the most there ever was, MiB. */
export async function memoryOf(pid: number): Promise<{ readonly rssMiB: number; readonly peakMiB: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const mib = (field: string): number =>
    Math.round(Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? NaN) / 1_024);
  return { rssMiB: mib('VmRSS'), peakMiB: mib('VmHWM') };
}
