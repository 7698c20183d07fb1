// Stack, its processes. In: what a process is, as plain data that outlives its starter; out: a server to start, pause
// and end by name.
import { connect } from 'node:net';
import { join } from 'node:path';
import { memberServer, type Server } from '../../../tools/node-cluster/member-server.ts';
import { markerOf } from '../../../tools/node-cluster/members.ts';
import { loopback } from '../../../tools/node-cluster/servers.ts';

/** A process as it is written down: whoever reads it can start the same again. */
export interface ProcessRecord {
  /** `[a-z0-9-]+`; its log is `<name>.log`. */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ready: ReadyProbe;
  /** For it to become ready; default 30 s. */
  readonly readyWithinMs?: number;
}

/** http: ready when the URL answers 2xx; port: when it accepts connections; redis: when it answers PING. */
export type ReadyProbe =
  { readonly kind: 'http'; readonly url: string } | { readonly kind: 'port' | 'redis'; readonly port: number };

const READY_DEADLINE_MS = 30_000;
const PROBE_TIMEOUT_MS = 2000;

/** The process of a record as a server of the folder; `run` names the bring-up that it belongs to. */
export function serverOf(folder: string, run: string, record: ProcessRecord): Server {
  return memberServer({
    ...record,
    folder,
    run,
    logFile: join(folder, `${record.name}.log`),
    ready: () => probe(record.ready),
    deadlineMs: record.readyWithinMs ?? READY_DEADLINE_MS,
  });
}

/**
 * A shell script that starts the process of a record in the foreground, known to the folder like one that it started.
 */
export function shellScript(folder: string, run: string, record: ProcessRecord): string {
  const environment = Object.entries({ ...record.environment, ...markerOf(folder, run, record.name) });
  const words = [record.program, ...record.args].map(shellWord);
  return [
    '#!/bin/sh',
    `# Starts ${record.name} again as the stack started it, in the foreground.`,
    `cd ${shellWord(folder)}`,
    ...environment.map(([name, value]) => `export ${name}=${shellWord(value)}`),
    `exec ${words.join(' ')}`,
    '',
  ].join('\n');
}

/** A text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

async function probe(how: ReadyProbe): Promise<true | undefined> {
  if (how.kind === 'http') return await probeUrl(how.url);
  return (await firstWord(how.port, how.kind === 'redis' ? 'PING\r\n' : undefined)) !== '-LOADING' || undefined;
}

async function probeUrl(url: string): Promise<true> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
  const body = await answer.text();
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}: ${body.slice(0, 500)}`);
  return true;
}

/** Connects, says `greeting` if there is one, and answers the first word of the reply, '' when nothing was asked. */
async function firstWord(port: number, greeting?: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ port, host: loopback, timeout: PROBE_TIMEOUT_MS });
    const finish = (word: string): void => {
      resolve(word);
      socket.destroy();
    };
    socket.once('timeout', () => socket.destroy(new Error(`no answer on port ${port}`)));
    socket.once('error', reject);
    socket.once('data', (chunk) => {
      finish(chunk.toString().split(/\s/)[0] ?? '');
    });
    socket.once('connect', () => {
      if (greeting === undefined) finish('');
      else socket.write(greeting);
    });
  });
}
