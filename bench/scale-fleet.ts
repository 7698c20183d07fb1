// Benchmark of scale, a process of limiters as the benchmark sees it. In: port, CA, limiters; out: what they hold,
// and each ACK of an edit.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { FleetNews, LightLimiter } from './scale-limiters.ts';

/** The limiters of one client process, as it told last. */
export class Fleet {
  held = 0;
  connected = 0;
  onAck: (name: string, atMs: number) => void = () => undefined;
  readonly #child: ChildProcess;

  constructor(port: number, ca: string, limiters: readonly LightLimiter[]) {
    this.#child = fork(new URL('scale-limiters.ts', import.meta.url));
    this.#child.on('message', ({ held, connected, acks }: FleetNews) => {
      this.held = held;
      this.connected = connected;
      for (const { name, atMs } of acks) this.onAck(name, atMs);
    });
    this.#child.send({ port, ca, limiters });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill();
    await once(this.#child, 'exit');
  }
}
