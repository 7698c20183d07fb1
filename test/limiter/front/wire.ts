// Test part: the two ends of a wire: TCP servers of the test's own and raw clients, with a sidecar between them.
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { LimiterConfig } from '../../../src/contract/limiter-config.ts';
import type { ApplyConfigs, ConfigChange, ConfigSource } from '../../../src/limiter/config/config-source.ts';
import type { LimiterSettings } from '../../../src/limiter/settings.ts';
import type { LimiterParts } from '../../../src/limiter/main.ts';
import { startLimiter, until, type Running } from '../running.ts';

/** A TCP server on loopback. */
export interface WireServer {
  readonly port: number;
  readonly sockets: Set<Socket>;
  close(): void;
}

export async function tcpServer(serve: (socket: Socket) => void): Promise<WireServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A sidecar before a server on loopback; what a test leaves open is cut when it closes. */
export function startSidecar(
  port: number,
  configs: readonly LimiterConfig[] = [],
  settings: Partial<LimiterSettings> = {},
  parts: LimiterParts = {},
): Promise<Running> {
  return startLimiter(
    configs,
    { mode: 'sidecar', upstream: `http://127.0.0.1:${port}`, graceMs: 50, ...settings },
    parts,
  );
}

/** A raw client that keeps what it was sent. */
export class WireClient {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #error: string | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#error = error.code;
    });
  }

  /** To the traffic port of a limiter. */
  static async dial(traffic: string): Promise<WireClient> {
    const { hostname, port } = new URL(traffic);
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    const client = new WireClient(socket);
    await once(socket, 'connect');
    return client;
  }

  /** Latin-1. */
  get text(): string {
    return this.#received.toString('latin1');
  }

  get bytes(): Buffer {
    return this.#received;
  }

  /** Code of the socket's error. */
  get error(): string | undefined {
    return this.#error;
  }

  send(text: string | Buffer): this {
    this.socket.write(text, 'latin1');
    return this;
  }

  /** Waits until all of `text` has come; what had come goes. */
  async take(text: string): Promise<void> {
    await until(() => this.text.includes(text));
    this.#received = Buffer.alloc(0);
  }

  /** Waits for the end of what the other side sends. */
  async ended(): Promise<string> {
    await until(() => this.socket.readableEnded || this.socket.closed);
    return this.text;
  }

  async closed(): Promise<void> {
    await until(() => this.socket.closed);
  }
}

/** An operator that says nothing until it is made to. */
export class LateSource implements ConfigSource {
  #apply: ApplyConfigs | undefined;

  start(apply: ApplyConfigs): Promise<void> {
    this.#apply = apply;
    return Promise.resolve();
  }

  push(change: ConfigChange): void {
    this.#apply?.(change);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** The value at which a counter stands still for a while. */
export async function standstill(count: () => number): Promise<number> {
  let last = -1;
  for (let same = 0; same < 5; same = count() === last ? same + 1 : 0) {
    last = count();
    await delay(40);
  }
  return last;
}

/** The value of one series of a limiter's metrics; 0 when there is none. */
export async function metric({ admin }: Running, series: string): Promise<number> {
  const text = await (await fetch(`${admin}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}
