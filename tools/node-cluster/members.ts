// Stage: processes. Input: a program and the work folder it belongs to. Output: exactly the processes of that folder,
// started, found and ended.
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { waitFor } from './wait.ts';

/**
 * Each process carries this variable, so that it can be recognised in /proc without records: also after its starter was
 * killed between the start and the record, and never mistaken for a later process with the same number.
 */
const marker = 'WEIR_CLUSTER_MEMBER';

export interface Member {
  readonly name: string;
  readonly pid: number;
}

export interface StartOptions {
  readonly folder: string;
  /** Which `up` of the folder this belongs to: the guard of an earlier one lets it live. */
  readonly run: string;
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly logFile: string;
  /** Beside PATH and HOME; the program gets nothing else of the caller's environment. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts the program in a session of its own: it outlives the caller unless a guard watches the folder. */
export async function startMember(options: StartOptions): Promise<Member> {
  const { folder, run, name, program, args, logFile, environment } = options;
  const log = openSync(logFile, 'a');
  try {
    const child = spawn(program, args, {
      cwd: folder,
      detached: true,
      // Nothing else from the caller: etcd, for one, takes each of its flags from the environment too.
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment, ...markerOf(folder, run, name) },
      stdio: ['ignore', log, log],
    });
    const member = { name, pid: await started(child, program) };
    // The caller goes on a moment before Linux shows the environment of the new program, by which it is known.
    const isKnown = (): true | undefined =>
      isAlive(folder, member) || child.exitCode !== null || child.signalCode !== null ? true : undefined;
    await waitFor(`${name} among the processes`, isKnown, { deadlineMs: 10_000, everyMs: 5 });
    child.unref();
    return member;
  } finally {
    closeSync(log);
  }
}

/** The variable by which a process is known; one that is started by hand with it is a member like the others. */
export function markerOf(folder: string, run: string, name: string): Record<string, string> {
  return { [marker]: `${prefix(folder)}${run}/${name}` };
}

/** The living processes of the folder, whoever started them. */
export function findMembers(folder: string): Member[] {
  const members: Member[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const name = memberName(Number(entry), folder);
    if (name !== undefined) members.push({ name, pid: Number(entry) });
  }
  return members;
}

export function isAlive(folder: string, member: Member): boolean {
  return memberName(member.pid, folder) === member.name;
}

export interface EndOptions {
  readonly signal?: NodeJS.Signals;
  readonly graceMs?: number;
}

/** Sends the signal, waits for the end, and after `graceMs` kills. A process that is already gone is no error. */
export async function endMember(
  folder: string,
  member: Member,
  { signal = 'SIGTERM', graceMs = 15_000 }: EndOptions = {},
): Promise<void> {
  if (!(await isThere(folder, member))) return;
  const gone = endOf(member.pid);
  signalMember(member, signal);
  signalMember(member, 'SIGCONT'); // a paused process would never see the signal
  try {
    await waitFor(`end of ${member.name}`, gone, { deadlineMs: graceMs, everyMs: 20 });
  } catch {
    signalMember(member, 'SIGKILL');
    await waitFor(`end of ${member.name} after SIGKILL`, gone, { deadlineMs: 10_000, everyMs: 20 });
  }
}

/** Waits while the process is becoming another program: for that moment it has no environment, and so no name. */
async function isThere(folder: string, member: Member): Promise<boolean> {
  const known = (): boolean | undefined => {
    if (isAlive(folder, member)) return true;
    return environmentOf(member.pid) === '' && !isGone(member.pid) ? undefined : isAlive(folder, member);
  };
  return await waitFor('the environment', known, { deadlineMs: 2_000, everyMs: 1 }).catch(() => false);
}

export interface Guard {
  /** Lets the guard go; the processes it watched must have been ended before, otherwise it ends them. */
  release: () => Promise<void>;
}

/**
 * Ends the processes of this run as soon as the calling process is gone, also after kill -9: its end of a pipe
 * closes.
 */
export async function startGuard(folder: string, run: string): Promise<Guard> {
  const child = spawn('/bin/sh', [join(import.meta.dirname, 'guard.sh'), `${marker}=${prefix(folder)}${run}/`], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
  });
  await started(child, '/bin/sh');
  const stdin = child.stdin as Socket; // a pipe is a socket to Node; neither keeps the caller running
  child.unref();
  stdin.unref();
  return {
    release: async () => {
      child.ref();
      stdin.end();
      await ended;
    },
  };
}

async function started(child: ChildProcess, program: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  if (child.pid === undefined) throw new Error(`${program} did not start`);
  return child.pid;
}

/** A process that is already gone is no error. */
export function signalMember(member: Member, signal: NodeJS.Signals): void {
  try {
    process.kill(member.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * With it begins the marker of each member of the folder; run and name follow. No real path has two slashes together.
 */
function prefix(folder: string): string {
  return `${folder}//`;
}

/**
 * A probe for the end of the process that has this number now. Its end is when its last thread has ended: before that
 * it has lost its environment, and with it its name, but still holds its ports.
 */
function endOf(pid: number): () => true | undefined {
  const began = startTimeOf(`/proc/${pid}`);
  return () => startTimeOf(`/proc/${pid}`) !== began || isGone(pid) || undefined;
}

/** Whatever its environment says: a process that becomes another program (exec) has none for a moment. */
export function isGone(pid: number): boolean {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    return threads.every((thread) => hasEnded(`/proc/${pid}/task/${thread}`));
  } catch {
    return true;
  }
}

/** In clock ticks since the machine started: tells a process from a later one with the same number. */
function startTimeOf(entry: string): string | undefined {
  return statOf(entry)?.[19];
}

/** Gone, or kept only for its parent to ask after it. */
function hasEnded(thread: string): boolean {
  const state = statOf(thread)?.[0];
  return state === undefined || state === 'Z' || state === 'X';
}

/** proc(5), /proc/pid/stat from its third field on: what stands before may have spaces in it. */
function statOf(entry: string): readonly string[] | undefined {
  try {
    const stat = readFileSync(`${entry}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** A process that ends has an empty environment, and so no name. */
function memberName(pid: number, folder: string): string | undefined {
  const start = `${marker}=${prefix(folder)}`;
  const name = environmentOf(pid)
    ?.split('\0')
    .find((line) => line.startsWith(start))
    ?.slice(start.length)
    .split('/')[1];
  return name === 'containerd' && isShim(pid) ? 'containerd-shim' : name;
}

/** Empty: it has none, or not yet. undefined: there is no such process, or it is not ours to read. */
function environmentOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return undefined;
  }
}

/** One for each pod; it outlives containerd, whose environment it was given. */
function isShim(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('containerd-shim');
  } catch {
    return false;
  }
}
