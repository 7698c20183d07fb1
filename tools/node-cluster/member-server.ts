// Stage: processes, as servers. Input: a program, its place in a work folder and a probe. Output: a server that is
// started, awaited, paused and ended by name.
import { readFile } from 'node:fs/promises';
import {
  endMember,
  findMembers,
  isAlive,
  isGone,
  signalMember,
  startMember,
  type EndOptions,
  type Member,
  type StartOptions,
} from './members.ts';
import { Hopeless, waitFor } from './wait.ts';

/**
 * One server of a folder. All of it acts on whatever process plays the part now, also one that another process
 * started.
 */
export interface Server {
  /** Undefined when it is not running. */
  pid: () => number | undefined;
  /** Resolves when it is ready to answer; nothing happens when it runs already, except that wait. */
  start: () => Promise<void>;
  /** SIGTERM, then a wait for its end. */
  stop: () => Promise<void>;
  /** kill -9, then a wait for its end. */
  kill: () => Promise<void>;
  restart: () => Promise<void>;
  /** SIGSTOP: it keeps its connections and answers nothing. */
  pause: () => void;
  /** SIGCONT. */
  resume: () => void;
}

export interface MemberServerOptions extends StartOptions {
  /** Answers true when the server is ready, and throws or answers undefined when it is not. */
  readonly ready: () => Promise<true | undefined>;
  /** For the server to become ready. */
  readonly deadlineMs: number;
}

/** A server whose process is known by its name in a folder. */
export function memberServer(options: MemberServerOptions): Server {
  const { folder, name } = options;
  const find = (): Member | undefined => findMembers(folder).find((member) => member.name === name);
  const end = async (how: EndOptions): Promise<void> => {
    const member = find();
    if (member) await endMember(folder, member, how);
  };
  const signal = (which: NodeJS.Signals): void => {
    const member = find();
    if (member) signalMember(member, which);
  };
  const start = async (): Promise<void> => {
    await untilReady(find() ?? (await startMember(options)), options);
  };
  const stop = (): Promise<void> => end({ signal: 'SIGTERM' });
  return {
    pid: () => find()?.pid,
    start,
    stop,
    kill: () => end({ signal: 'SIGKILL' }),
    restart: async () => {
      await stop();
      await start();
    },
    pause: () => {
      signal('SIGSTOP');
    },
    resume: () => {
      signal('SIGCONT');
    },
  };
}

async function untilReady(member: Member, { folder, ready, logFile, deadlineMs }: MemberServerOptions): Promise<void> {
  const check = async (): Promise<true | undefined> => {
    if (!isAlive(folder, member) && isGone(member.pid)) throw new Hopeless(`${member.name} ended before it was ready`);
    return await ready();
  };
  try {
    await waitFor(`${member.name} ready`, check, { deadlineMs, everyMs: 100 });
  } catch (error) {
    const cause = (error as Error).cause instanceof Error ? ` (${((error as Error).cause as Error).message})` : '';
    throw new Error(`${(error as Error).message}${cause}; the end of its log:\n${await logTail(logFile)}`, {
      cause: error,
    });
  }
}

/** The last lines of a log. */
export async function logTail(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '(no log)');
  return text.trimEnd().split('\n').slice(-15).join('\n');
}
