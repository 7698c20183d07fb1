// A push port for one test: over real TLS on loopback, with its store, its ack table and limiters that speak raw.
import { AckTable, type AckTableSettings } from '../../../src/controller/push/ack-table.ts';
import {
  createStaticAuthenticator,
  type AdmissionResult,
  type Authenticator,
} from '../../../src/controller/push/authenticator.ts';
import { PushServer, type PushServerParts, type PushServerSettings } from '../../../src/controller/push/push-server.ts';
import { SnapshotStore } from '../../../src/controller/push/snapshot-store.ts';
import type { LimiterView } from '../../../src/controller/push/visibility.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { makePushCertificates, type PushCertificates } from '../../contract/push-certificates.ts';
import { RawLimiter } from '../../contract/raw-limiter.ts';

export interface Rig {
  readonly store: SnapshotStore;
  readonly acks: AckTable;
  readonly server: PushServer;
  readonly port: number;
  readonly limiter: (token?: string) => RawLimiter;
}

export const TOKEN = 'secret';
const undo: (() => void | Promise<void>)[] = [];
export let certificates: PushCertificates;

/** To be called once, before the first port. */
export async function prepareCertificates(): Promise<void> {
  certificates = await makePushCertificates();
}

/** Undone when the test ends, last first. */
export function atEnd(step: () => void | Promise<void>): void {
  undo.push(step);
}

export async function endAll(): Promise<void> {
  for (const step of undo.splice(0).reverse()) await step();
}

export async function start(
  options: Partial<PushServerSettings & PushServerParts> & { table?: AckTableSettings; watched?: string[] } = {},
): Promise<Rig> {
  const {
    authenticate = createStaticAuthenticator(TOKEN),
    isHolder = () => true,
    observer = {},
    log = silentLogger(),
    onUnwatched = () => undefined,
    watched = [],
    ...settings
  } = options;
  const store = new SnapshotStore(undefined, watched);
  const acks = new AckTable((view) => store.namesSeenBy(view), options.table);
  const server = new PushServer(
    { store, acks, authenticate, log, isHolder, observer, onUnwatched },
    { host: '127.0.0.1', port: 0, tls: certificates.tls, ...settings },
  );
  const port = await server.listen();
  undo.push(() => server.close(100));
  const limiter = (token: string | undefined = TOKEN): RawLimiter => track({ port, ca: certificates.ca, token });
  return { store, acks, server, port, limiter };
}

export function track(options: { port: number; ca: string; token?: string }): RawLimiter {
  const limiter = new RawLimiter(options);
  undo.push(() => {
    limiter.close();
  });
  return limiter;
}

/** Lets tokens `pod-<label>` in as the sidecar of a pod with `app=<label>`. */
export function podAuthenticator(more: Partial<Extract<AdmissionResult, { admitted: true }>> = {}): Authenticator {
  return ({ token }) => {
    const label = token.replace('pod-', '');
    const view: LimiterView = {
      kind: 'pod',
      pod: { namespace: 'a', name: label, uid: label, labels: { app: label } },
    };
    return Promise.resolve({ admitted: true, limiterId: `pod/${label}`, view, ...more });
  };
}
