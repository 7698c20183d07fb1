// Stage: addresses. Input: nothing. Output: TCP ports on loopback that nobody listens on and nobody else was given;
// whether somebody listens at one.
import { connect, createServer, type ListenOptions } from 'node:net';
import { randomInt } from 'node:crypto';

/**
 * Below the range from which Linux takes the source ports of outgoing connections (32768 and up), so that a server
 * that restarts on its port never finds it taken by a client, and below that of NodePorts (30000 and up), which
 * kube-proxy diverts.
 */
const firstPort = 20_000;
const endPort = 30_000;

/**
 * Ports that this process keeps for their servers, for as long as it lives: no other call gets them, nor another
 * process.
 */
export async function freePorts(count: number, candidates: Iterable<number> = randomPorts()): Promise<number[]> {
  const found: number[] = [];
  for (const port of candidates) {
    if (found.length === count) return found;
    if ((await claim(port)) && (await isFree(port))) found.push(port);
  }
  if (found.length < count) throw new Error(`no free port between ${firstPort} and ${endPort}`);
  return found;
}

function* randomPorts(): Generator<number> {
  for (let attempt = 0; attempt < 1000; attempt++) yield randomInt(firstPort, endPort);
}

export async function isFree(port: number): Promise<boolean> {
  return await canListen({ port, host: '127.0.0.1' }, 'close');
}

/**
 * Between the choice of a port and its server's start lie seconds in which it looks free to everybody. An abstract
 * socket of its name is the mark that it is taken: of two who ask only one gets it, and the kernel removes it with
 * the process.
 */
async function claim(port: number): Promise<boolean> {
  return await canListen({ path: `\0weir-test-port-${port}` }, 'keep');
}

async function canListen(address: ListenOptions, then: 'close' | 'keep'): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen({ ...address, exclusive: true }, () => {
      if (then === 'close') {
        server.close(() => {
          resolve(true);
        });
      } else {
        server.unref();
        resolve(true);
      }
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
