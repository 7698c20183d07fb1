// Stage: addresses. Input: nothing. Output: TCP ports on loopback that nobody listens on; whether somebody listens at one.
import { connect, createServer } from 'node:net';
import { randomInt } from 'node:crypto';

/**
 * Below the range from which Linux takes the source ports of outgoing connections (32768 and up): a server that restarts
 * on its port then never finds it taken by a client, nor by a client that connected to itself.
 */
const firstPort = 20_000;
const endPort = 32_000;

export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let attempt = 0; found.size < count; attempt++) {
    if (attempt > 1000) throw new Error(`no free port between ${firstPort} and ${endPort}`);
    const port = randomInt(firstPort, endPort);
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  return [...found];
}

export async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

/** Whether a connection is accepted there, within a second. */
export async function isOpen(port: number, host = '127.0.0.1'): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ port, host, timeout: 1000 });
    const settle = (isAccepted: boolean) => (): void => {
      socket.destroy();
      resolve(isAccepted);
    };
    socket.once('connect', settle(true)).once('error', settle(false)).once('timeout', settle(false));
  });
}
