// A TCP proxy that can be made to go silent without closing anything, as a cut network or a stopped process is.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface StallingProxy {
  readonly port: number;
  /** From now on nothing passes and nothing is closed, on new connections too. */
  stall(): void;
  /** What was sent meanwhile arrives now, also from a sender that has gone: no network delivers later than this. */
  heal(): void;
  close(): Promise<void>;
}

export async function startStallingProxy(targetPort: number): Promise<StallingProxy> {
  const sockets = new Set<Socket>();
  let isStalled = false;
  let held: (() => void)[] = [];
  const deliver = (step: () => void): void => {
    if (isStalled) held.push(step);
    else step();
  };
  const relay = (from: Socket, to: Socket): void => {
    sockets.add(from);
    from.on('error', () => undefined);
    from.on('data', (bytes) => {
      deliver(() => to.write(bytes));
    });
    from.once('close', () => {
      deliver(() => to.end());
    });
  };
  const server = createServer((client) => {
    const target = connect(targetPort, '127.0.0.1');
    relay(client, target);
    relay(target, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stall: () => {
      isStalled = true;
    },
    heal: () => {
      isStalled = false;
      const steps = held;
      held = [];
      for (const step of steps) step();
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
      });
    },
  };
}
