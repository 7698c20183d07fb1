// Benchmarks, a hostile caller: a thread that sends one attack again and again until it is ended. In: its worker
// data; out: a message when the first request is under way, and on request how many were answered, and how.
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { ATTACKS } from './hostile-attacks.ts';

export interface AttackerData {
  readonly attack: string;
  readonly host: string;
  readonly port: number;
}

export interface AttackerReport {
  readonly requests: number;
  /** By status; `cut`: the connection ended without an answer. */
  readonly answers: Readonly<Record<string, number>>;
  readonly bytes: number;
}

const { attack: name, host, port } = workerData as AttackerData;
const attack = ATTACKS.find((candidate) => candidate.name === name)!;
const bytes = Buffer.concat(attack.pieces());
const answers: Record<string, number> = {};
let requests = 0;

function send(): void {
  const socket = connect(port, host);
  let status: string | undefined;
  requests += 1;
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    status ??= /^HTTP\/1\.1 (\d{3})/.exec(chunk.toString('latin1', 0, 16))?.[1];
    if (attack.stalls !== true) socket.end();
  });
  socket.on('close', () => {
    const key = status ?? 'cut';
    answers[key] = (answers[key] ?? 0) + 1;
    setImmediate(send);
  });
  socket.write(bytes);
}

for (let count = 0; count < attack.connections; count += 1) send();
parentPort?.postMessage('sending');
parentPort?.on('message', () => {
  parentPort?.postMessage({ requests, answers, bytes: bytes.length } satisfies AttackerReport);
});
