// Test part: a sidecar with an object in force between a raw client and a raw server, which shows the bytes that
// reach it.
import type { Socket } from 'node:net';
import type { LimiterConfig, ModelRouting } from '../../../src/contract/limiter-config.ts';
import { limit } from '../fixtures.ts';
import { startSidecar, tcpServer, WireClient, type WireServer } from '../front/wire.ts';
import { routeTo, type Running } from '../running.ts';
import { HOUR, tokens } from '../store/fixtures.ts';

export const MAX_BODY = 64 * 1024;
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** The two ends, and what passed between them. */
export class Ends {
  /** What the server was sent, in Latin-1; all connections one after the other. */
  received = '';
  /** What the server does with a chunk; by default it answers each with 200. */
  serve: (socket: Socket, chunk: string) => void = (socket) => socket.write(OK);
  readonly server: WireServer;
  #running: Running | undefined;

  private constructor(server: WireServer) {
    this.server = server;
  }

  static async open(): Promise<Ends> {
    const ends: Ends = new Ends(
      await tcpServer((socket) => {
        ends.#attach(socket);
      }),
    );
    return ends;
  }

  #attach(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      this.received += text;
      this.serve(socket, text);
    });
    socket.on('end', () => socket.end());
  }

  get running(): Running {
    if (this.#running === undefined) throw new Error('the sidecar was not started');
    return this.#running;
  }

  get url(): string {
    return `http://127.0.0.1:${this.server.port}`;
  }

  /** Starts a sidecar with a ModelRoute for model `m`, limited to one request. */
  async start(routing: Partial<ModelRouting> = {}): Promise<string> {
    return this.startWith(routeTo(this.url, { limits: [limit({ rule: tokens(1, HOUR) })] }, routing));
  }

  async startWith(...configs: readonly LimiterConfig[]): Promise<string> {
    this.#running = await startSidecar(this.server.port, configs, { maxBodyBytes: MAX_BODY });
    return this.running.traffic;
  }

  dial(): Promise<WireClient> {
    return WireClient.dial(this.running.traffic);
  }

  /** Sends bytes and waits for the end of the answers: the last request must ask for it. */
  async exchange(bytes: string): Promise<string> {
    const client = await this.dial();
    const heard = await client.send(bytes).ended();
    client.socket.destroy();
    return heard;
  }

  /** POSTs a body; its status. */
  async post(path: string, body: string | Buffer, headers: Record<string, string> = {}): Promise<number> {
    const bytes = new Uint8Array(Buffer.from(body));
    const answer = await fetch(`${this.running.traffic}${path}`, { method: 'POST', body: bytes, headers });
    await answer.arrayBuffer();
    return answer.status;
  }

  async close(): Promise<void> {
    await this.#running?.close();
    this.server.close();
  }
}
