// Stack: a set of processes in one folder. In: records; out: each started, awaited and known by name, also to another
// process, until all are ended.
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../../../tools/node-cluster/cluster-folder.ts';
import type { Server } from '../../../tools/node-cluster/member-server.ts';
import { endMember, findMembers, startGuard, type Guard } from '../../../tools/node-cluster/members.ts';
import { serverOf, shellScript, type ProcessRecord } from './process-record.ts';

interface StackRecord {
  /** Names one bring-up of the folder. */
  readonly run: string;
  /** In the order of their start; they end the other way round. */
  readonly processes: readonly ProcessRecord[];
}

const RECORD_FILE = 'stack.json';

/** The processes of one folder. Beside its record it holds a log and a start script for each. */
export class Stack {
  readonly folder: string;
  readonly #run: string;
  readonly #guard: Guard | undefined;
  #processes: readonly ProcessRecord[];
  /** One writing at a time, in the order of the starts. */
  #saved: Promise<void> = Promise.resolve();

  private constructor(folder: string, { run, processes }: StackRecord, guard?: Guard) {
    this.folder = folder;
    this.#run = run;
    this.#processes = processes;
    this.#guard = guard;
  }

  /**
   * A new stack; what an earlier one left running in this folder is ended first. `guarded`: its processes end with the
   * calling process, also after kill -9; otherwise they stay until {@link end}.
   */
  static async create(path: string, { guarded }: { readonly guarded: boolean }): Promise<Stack> {
    await mkdir(path, { recursive: true });
    const folder = await realpath(path);
    await endMembers(folder, []);
    const run = randomUUID();
    const stack = new Stack(folder, { run, processes: [] }, guarded ? await startGuard(folder, run) : undefined);
    await stack.#save();
    return stack;
  }

  /** The stack that another process made in this folder; undefined when there never was one. */
  static async attach(path: string): Promise<Stack | undefined> {
    const folder = await realpath(path).catch(() => undefined);
    if (folder === undefined) return undefined;
    const text = await readFile(join(folder, RECORD_FILE), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : new Stack(folder, JSON.parse(text) as StackRecord);
  }

  /** Writes the process down and starts it; resolves when it is ready. One of the same name is ended and replaced. */
  async start(record: ProcessRecord): Promise<Server> {
    await this.#serverOf(record).stop();
    const others = this.#processes.filter(({ name }) => name !== record.name);
    this.#processes = [...others, record];
    await this.#save();
    await writeWhole(join(this.folder, `${record.name}.cmd`), shellScript(this.folder, this.#run, record));
    const server = this.#serverOf(record);
    await server.start();
    return server;
  }

  /** The names of its processes, in the order of their start, whether they run or not. */
  names(): string[] {
    return this.#processes.map(({ name }) => name);
  }

  /** Throws for a name that was never started. */
  server(name: string): Server {
    const record = this.#processes.find((process) => process.name === name);
    if (!record) throw new Error(`no process ${name} here; there are: ${this.names().join(', ')}`);
    return this.#serverOf(record);
  }

  /** Everything that a process has written. */
  async log(name: string): Promise<string> {
    return await readFile(join(this.folder, `${name}.log`), 'utf8').catch(() => '');
  }

  /** Ends its processes and no others, the last started first. The folder stays. */
  async end(): Promise<void> {
    await endMembers(this.folder, this.names().reverse());
    await this.#guard?.release();
  }

  #serverOf(record: ProcessRecord): Server {
    return serverOf(this.folder, this.#run, record);
  }

  async #save(): Promise<void> {
    const record: StackRecord = { run: this.#run, processes: this.#processes };
    const write = (): Promise<void> =>
      writeWhole(join(this.folder, RECORD_FILE), JSON.stringify(record, null, 2) + '\n');
    this.#saved = this.#saved.then(write, write);
    await this.#saved;
  }
}

/** Those of `order` in that order, then whatever else is a member of the folder. */
async function endMembers(folder: string, order: readonly string[]): Promise<void> {
  const members = findMembers(folder);
  const rank = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length);
  for (const member of members.sort((a, b) => rank(a.name) - rank(b.name))) await endMember(folder, member);
}
