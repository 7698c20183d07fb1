// Controller, push: the push port. In: gRPC streams of limiters, changes of the snapshot store, of pods and of the
// lease; out: admitted streams with a session each, and what they say in the ack table.
import { Server, status, type ConnectionInjector } from '@grpc/grpc-js';
import { createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { isSharersName } from '../../contract/limiter-config.ts';
import {
  isGoodbye,
  loadPushProtocol,
  MAX_REQUEST_BYTES,
  MAX_RESPONSE_BYTES,
  SHARERS_FEATURE,
  type DeltaDiscoveryRequest,
} from '../../contract/push-protocol.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { AckTable } from './ack-table.ts';
import type { Admitted, Authenticator } from './authenticator.ts';
import { ReplaceableCredentials, type TlsPair } from './push-credentials.ts';
import { greet, type Greeting, type PushCall } from './push-handshake.ts';
import { PushSession, type PushObserver } from './push-session.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import { StreamIndex, type IndexedStream } from './stream-index.ts';
import { coversNamespace, shownName, type LimiterView, type PodView } from './visibility.ts';

export interface PushServerParts {
  readonly store: SnapshotStore;
  readonly acks: AckTable;
  readonly authenticate: Authenticator;
  readonly log: Logger;
  readonly observer?: PushObserver;
  /** Called with namespaces that are not watched and that a limiter, believed to be one, is of or has configs of. */
  readonly onUnwatched?: (namespaces: Iterable<string>) => void;
  /** false: this process does not hold the lease and serves no limiter (UNAVAILABLE). Default: always true. */
  readonly isHolder?: () => boolean;
}

export interface PushServerSettings {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Absent: to be given by `replaceCertificate` before the port is opened. */
  readonly tls?: TlsPair;
  readonly maxConnections?: number;
  /** Streams of one connection; a limiter uses one. */
  readonly maxStreamsPerConnection?: number;
  readonly maxResponseBytes?: number;
  /** How long a new stream may take to say who it is, ms. */
  readonly firstRequestMs?: number;
  /** A peer is asked for a sign of life this often, and has as long again to give one, ms. */
  readonly keepaliveMs?: number;
}

const DEFAULTS = {
  maxConnections: 4_000,
  maxStreamsPerConnection: 4,
  // A connection keeps buffers as large as what once went out at once (docs/adr/memory-of-a-process.md).
  maxResponseBytes: 32 * 1024,
  firstRequestMs: 10_000,
  keepaliveMs: 5_000,
};

const POD_GONE = 'the pod that the token is bound to is gone';
const MAX_TIMER_MS = 2 ** 31 - 1;
/** How long a pod that is gone is remembered, for a limiter of it that is just being let in, ms. */
const GONE_POD_MS = 60_000;
const REFUSAL_TOLD_MS = 60_000;

type Refusal = Extract<Greeting, { kind: 'refused' }>;

interface LiveStream extends IndexedStream {
  readonly session: PushSession;
  end(code: status, message: string, how: 'goodbye' | 'lost'): void;
}

/** Serves DeltaAggregatedResources over TLS to limiters that authenticate. */
export class PushServer {
  readonly #parts: PushServerParts;
  readonly #settings: PushServerSettings & typeof DEFAULTS;
  readonly #grpc: Server;
  readonly #credentials: ReplaceableCredentials;
  readonly #streams = new StreamIndex<LiveStream>();
  readonly #unsubscribe: () => void;
  #listener: NetServer | undefined;
  /** Also those in the middle of a handshake, which gRPC does not know yet. */
  readonly #sockets = new Set<Socket>();
  #injector: ConnectionInjector | undefined;
  readonly #gonePods = new Set<string>();
  /** Refusals that the log had within the last minute. */
  readonly #toldRefusals = new Set<string>();
  #isClosing = false;

  constructor(parts: PushServerParts, settings: PushServerSettings) {
    this.#parts = parts;
    this.#settings = { ...DEFAULTS, ...settings };
    const { keepaliveMs, maxStreamsPerConnection, tls = { cert: '', key: '' } } = this.#settings;
    this.#credentials = new ReplaceableCredentials(tls);
    this.#grpc = new Server({
      'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
      'grpc.max_send_message_length': MAX_RESPONSE_BYTES,
      'grpc.max_concurrent_streams': maxStreamsPerConnection,
      'grpc.keepalive_time_ms': keepaliveMs,
      'grpc.keepalive_timeout_ms': keepaliveMs,
      'grpc.max_connection_idle_ms': 30_000,
      'grpc.enable_channelz': 0,
    });
    const method = loadPushProtocol().method;
    const handler = (call: PushCall): void => {
      this.#accept(call).catch((error: unknown) => {
        parts.log.error('push stream failed', { error: messageOf(error) });
        endCall(call, status.INTERNAL, 'internal error');
      });
    };
    this.#grpc.addService({ deltaAggregatedResources: method }, { deltaAggregatedResources: handler });
    this.#unsubscribe = parts.store.subscribe((names) => {
      this.#offer(names);
    });
  }

  /**
   * Opens the port: only after every cache has synced and the last good forms are in the store.
   * @returns the port. @throws Error when it cannot be bound.
   */
  async listen(): Promise<number> {
    const { host, port, maxConnections } = this.#settings;
    const injector = this.#grpc.createConnectionInjector(this.#credentials);
    const listener = createServer({ noDelay: true }, (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      injector.injectConnection(socket);
    });
    listener.maxConnections = maxConnections;
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject).listen(port, host, resolve);
    });
    listener.on('error', (error) => this.#parts.log.error('push port failed', { error: messageOf(error) }));
    this.#injector = injector;
    this.#listener = listener;
    return (listener.address() as AddressInfo).port;
  }

  /** New connections get this certificate. */
  replaceCertificate(pair: TlsPair): void {
    this.#credentials.replace(pair);
  }

  /** A pod as it is now: its limiter sees from now on what these labels select. */
  setPod(pod: PodView): void {
    for (const stream of this.#streams.ofPod(pod.uid)) {
      if (stream.view.kind !== 'pod') continue;
      stream.view = { kind: 'pod', pod };
      stream.session.changeView(stream.view);
    }
  }

  /** A pod is gone: so is the stream of its limiter, and the limiter itself. */
  removePod(uid: string): void {
    this.#gonePods.add(uid);
    setTimeout(() => this.#gonePods.delete(uid), GONE_POD_MS).unref();
    for (const stream of this.#streams.ofPod(uid)) {
      stream.end(status.UNAUTHENTICATED, POD_GONE, 'goodbye');
    }
  }

  /** Ends all streams: the lease is lost. Limiters look for another operator. */
  endStreams(message: string): void {
    for (const stream of this.#streams.all()) stream.end(status.UNAVAILABLE, message, 'lost');
  }

  /** Refuses new streams, ends the others and closes the port; after `graceMs` without ceremony. */
  async close(graceMs = 2_000): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#unsubscribe();
    this.endStreams('this operator is shutting down');
    const closed =
      this.#listener &&
      new Promise<void>((resolve) =>
        this.#listener?.close(() => {
          resolve();
        }),
      );
    this.#injector?.destroy();
    const shutDown = new Promise<void>((resolve) => {
      this.#grpc.tryShutdown(() => {
        resolve();
      });
    });
    await Promise.race([shutDown, delay(graceMs, undefined, { ref: false })]);
    this.#grpc.forceShutdown();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #offer(names: ReadonlySet<string>): void {
    for (const [stream, seen] of this.#streams.concernedBy(names)) stream.session.offer(seen);
  }

  async #accept(call: PushCall): Promise<void> {
    const { authenticate, log, store } = this.#parts;
    call.on('error', () => undefined);
    const greeting = this.#refusalOf() ?? (await greet(call, authenticate, this.#settings.firstRequestMs));
    const outcome = greeting.kind === 'refused' ? greeting : (this.#refusalOf(greeting.who) ?? greeting);
    if (call.cancelled) return;
    if (outcome.kind === 'refused') {
      this.#tellRefusal(call, outcome);
      endCall(call, outcome.code, outcome.message);
      return;
    }
    this.#noteUnwatched(unwatchedIn(store, outcome.who.view, outcome.held));
    this.#open(call, outcome);
    const { limiterId, view } = outcome.who;
    const limiter = shownName(view, limiterId);
    log.info('limiter connected', { limiter, peer: call.getPeer(), version: outcome.version });
  }

  /** A limiter that is not served comes again every few seconds: one line a minute says why. */
  #tellRefusal(call: PushCall, { code, message: reason, unwatched = [] }: Refusal): void {
    const { log } = this.#parts;
    this.#noteUnwatched(unwatched);
    const isNews = unwatched.length === 0 || !this.#toldRefusals.has(reason);
    const level = code === status.UNAVAILABLE || !isNews ? 'debug' : 'warn';
    log[level]('limiter refused', { peer: call.getPeer(), code: status[code], reason });
    if (unwatched.length === 0 || !isNews) return;
    this.#toldRefusals.add(reason);
    setTimeout(() => this.#toldRefusals.delete(reason), REFUSAL_TOLD_MS).unref();
  }

  #noteUnwatched(namespaces: readonly string[]): void {
    if (namespaces.length > 0) this.#parts.onUnwatched?.(namespaces);
  }

  /** Why nobody, or this limiter, is served now. */
  #refusalOf(who?: Admitted): Refusal | undefined {
    if (this.#isClosing)
      return { kind: 'refused', code: status.UNAVAILABLE, message: 'this operator is shutting down' };
    if (this.#parts.isHolder?.() === false) {
      return { kind: 'refused', code: status.UNAVAILABLE, message: 'this operator does not hold the lease' };
    }
    if (who?.view.pod !== undefined && this.#gonePods.has(who.view.pod.uid)) {
      return { kind: 'refused', code: status.UNAUTHENTICATED, message: POD_GONE };
    }
    return undefined;
  }

  #open(call: PushCall, { who, held: claimed, features }: Extract<Greeting, { kind: 'admitted' }>): void {
    const { store, acks, observer, log } = this.#parts;
    const { limiterId, view } = who;
    this.#streams
      .ofLimiter(limiterId)
      ?.end(status.ABORTED, 'another stream of the same limiter (node.id) took over', 'lost');
    const held = new Map([...claimed].filter(([name]) => store.isSeenBy(view, name) && !isSharersName(name)));
    const row = acks.connect(limiterId, view, held);
    const session = new PushSession(view, claimed, {
      store,
      acks: row,
      send: (response) => void call.write(response),
      maxResponseBytes: this.#settings.maxResponseBytes,
      takesSharers: features.includes(SHARERS_FEATURE),
      ...(observer === undefined ? {} : { observer }),
    });
    const finish = (how: 'goodbye' | 'lost'): boolean => {
      if (this.#streams.ofLimiter(limiterId) !== stream) return false;
      stopExpiry();
      this.#streams.delete(stream);
      row.end(how);
      log.info('limiter disconnected', { limiter: shownName(view, limiterId), how });
      return true;
    };
    const stream: LiveStream = {
      limiterId,
      view,
      session,
      end: (code, message, how) => {
        if (finish(how)) endCall(call, code, message);
      },
    };
    const stopExpiry = atTime(who.expiresAtMs, () => {
      stream.end(status.UNAUTHENTICATED, 'the token has expired; connect again with a new one', 'lost');
    });
    this.#streams.add(stream);
    for (const event of ['end', 'cancelled', 'close', 'error']) call.once(event, () => finish('lost'));
    call.on('data', (request: DeltaDiscoveryRequest) => {
      if (this.#streams.ofLimiter(limiterId) !== stream) return;
      if (isGoodbye(request)) stream.end(status.OK, 'goodbye', 'goodbye');
      else session.answer(request);
    });
    session.start();
    call.resume();
  }
}

/** Namespaces that nobody follows here, and that the limiter asks for or, where it may see them, holds configs of. */
function unwatchedIn(store: SnapshotStore, view: LimiterView, held: ReadonlyMap<string, string>): string[] {
  const asked = view.kind === 'shared' && view.namespaces !== 'all' ? view.namespaces : [];
  const holding = [...held.keys()].map((name) => name.split('/', 2)[1] ?? '-');
  const mayBe = [...new Set([...asked, ...holding])].filter((namespace) => coversNamespace(view, namespace));
  return mayBe.filter((namespace) => !store.watchesNamespace(namespace));
}

function endCall(call: PushCall, code: status, details: string): void {
  if (code === status.OK) call.end();
  else call.emit('error', { code, details });
}

/** Runs `then` at a wall-clock time; never when it is undefined. @returns a function that calls it off. */
function atTime(atMs: number | undefined, then: () => void): () => void {
  if (atMs === undefined) return () => undefined;
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    const leftMs = atMs - Date.now();
    if (leftMs <= 0) then();
    else timer = setTimeout(wait, Math.min(leftMs, MAX_TIMER_MS)).unref();
  };
  timer = setTimeout(wait, 0).unref();
  return () => {
    clearTimeout(timer);
  };
}
