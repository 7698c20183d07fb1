// Test part: an address that leads to one server, then to another, as the name of a Service or a record of DNS does.
// Input: ports; output: a TCP forwarder on a port of its own. Connections that exist keep their server until it or
// the client ends them.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { LOOPBACK } from './redis-server.ts';

export interface Forwarder {
  /** `host:port`, as RedisEndpoint.address wants it. */
  readonly address: string;
  /** Connections that were made since it started. */
  readonly connections: () => number;
  /** New connections lead there. */
  leadTo(port: number): void;
  close(): Promise<void>;
}

export async function startForwarder(firstPort: number): Promise<Forwarder> {
  let port = firstPort;
  let connections = 0;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket, other: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      sockets.delete(socket);
      other.destroy();
    });
  };
  const server = createServer((client) => {
    connections += 1;
    const target = connect(port, LOOPBACK);
    keep(client, target);
    keep(target, client);
    client.pipe(target).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve));
  return {
    address: `${LOOPBACK}:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    leadTo: (next) => {
      port = next;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
      });
    },
  };
}
