// Limiter, store: one connection to one Redis deployment, the only door to the Redis client. Input: scripts with a deadline;
// output: their replies, or StoreUnavailable within the deadline. Nothing is sent twice by itself: a script may have been
// executed although its reply never came.
import { AbstractConnector, Cluster, Redis, type RedisOptions } from 'ioredis';
import { connect, type LookupFunction, type Socket } from 'node:net';
import type { RedisEndpoint } from '../../contract/limiter-config.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf, type Logger } from '../../lib/log.ts';
import { CircuitBreaker, type CircuitState } from './circuit-breaker.ts';
import type { LuaScript } from './lua-script.ts';
import { StoreClock } from './store-clock.ts';
import { StoreUnavailable } from './store.ts';

const RECONNECT_MS = 100;
/** The client waits this long for the end of a connection, also of one that has long ended. */
const DISCONNECT_TIMEOUT_MS = 100;
const CONNECT_TIMEOUT_MS = 1000;
const FAILURES_TO_OPEN = 3;
const PROBE_EVERY_MS = 200;
/** A connection on which this many probes in a row got no answer is replaced: its peer may be gone without a word. */
const PROBES_PER_CONNECTION = 5;

export interface ConnectionOptions {
  /** The longest that a caller waits for an answer, ms. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of every begin and end of an outage. */
  readonly onCircuit?: ((endpoint: string, state: 'open' | 'closed') => void) | undefined;
  /** Resolves the host of a single Redis, and may refuse to; absent: as the system does. */
  readonly lookup?: LookupFunction | undefined;
}

/** KEYS and the one argument of a script. */
export interface ScriptArguments {
  readonly keys: readonly string[];
  readonly program: Buffer;
}

export interface ScriptReply {
  readonly bytes: Buffer;
  /** Monotonic ms. */
  readonly sentMs: number;
  readonly heardMs: number;
}

export class RedisConnection {
  /** Addresses alone: for logs and metrics. */
  readonly label: string;
  readonly #options: ConnectionOptions;
  readonly #client: Redis | Cluster;
  readonly #breaker: CircuitBreaker;
  readonly #clocks = new Map<string, StoreClock>();
  readonly #isCluster: boolean;
  readonly #script: LuaScript | undefined;
  #opening = Promise.withResolvers<undefined>();
  #unansweredProbes = 0;
  #closed = false;

  /** `script` is loaded on each connection ahead of its first call, which then fits its deadline on a busy server too. */
  constructor(endpoint: RedisEndpoint, options: ConnectionOptions, script?: LuaScript) {
    this.#script = script;
    this.label = labelOf(endpoint);
    this.#options = options;
    this.#isCluster = endpoint.cluster !== undefined;
    this.#breaker = new CircuitBreaker({
      failures: FAILURES_TO_OPEN,
      probeEveryMs: PROBE_EVERY_MS,
      probe: () => this.#probe(),
      onChange: (state) => {
        this.#tell(state);
      },
    });
    this.#client = createClient(endpoint, options.lookup);
    this.#watch();
    this.#client.connect().catch(() => undefined); // told by the events below
  }

  get circuit(): CircuitState {
    return this.#breaker.state;
  }

  /** The clock of the server that serves `tag`: on a cluster each server has its own. */
  clockOf(tag: string): StoreClock {
    const place = this.#isCluster ? tag : '';
    const known = this.#clocks.get(place);
    if (known !== undefined) return known;
    const { clock } = this.#options;
    const wallMicros = clock.nowMicros(); // first, so that a pause in between makes the estimate late and not early
    const fresh = new StoreClock(clock.monotonicMs(), wallMicros);
    this.#clocks.set(place, fresh);
    return fresh;
  }

  /**
   * Runs a script; `prepare` is asked for its arguments when the connection is ready.
   * @throws StoreUnavailable: at once when the circuit is open or there is no connection; at `deadlineAtMs` (monotonic)
   * when nothing was heard; when the server answers with an error.
   */
  async run(script: LuaScript, deadlineAtMs: number, prepare: () => ScriptArguments): Promise<ScriptReply> {
    if (this.#breaker.state !== 'closed') throw new StoreUnavailable('circuit-open', `${this.label} is in an outage`);
    try {
      if (this.#client.status !== 'ready') await this.#within(deadlineAtMs, this.#becomeReady());
      const { keys, program } = prepare();
      const sentMs = this.#options.clock.monotonicMs();
      const bytes = await this.#within(deadlineAtMs, this.#evaluate(script, keys, program));
      this.#breaker.succeeded();
      return { bytes, sentMs, heardMs: this.#options.clock.monotonicMs() };
    } catch (error) {
      this.#breaker.failed();
      throw unavailable(error, this.label);
    }
  }

  /** Pending calls reject with StoreUnavailable. */
  close(): void {
    this.#closed = true;
    this.#breaker.stop();
    this.#client.disconnect();
  }

  /** By its hash; a server that does not know the script (restart, fail-over, SCRIPT FLUSH) is sent its text. */
  async #evaluate(script: LuaScript, keys: readonly string[], program: Buffer): Promise<Buffer> {
    const rest = [keys.length, ...keys, program];
    let reply: unknown;
    try {
      reply = await this.#client.callBuffer('EVALSHA', [script.sha, ...rest]);
    } catch (error) {
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      reply = await this.#client.callBuffer('EVAL', [script.source, ...rest]);
    }
    if (!Buffer.isBuffer(reply)) throw new StoreUnavailable('reply', `${this.label}: ${script.name} answered no bytes`);
    return reply;
  }

  async #becomeReady(): Promise<void> {
    const { status } = this.#client;
    if (status === 'close' || status === 'reconnecting' || status === 'end')
      throw new StoreUnavailable('connection', `${this.label}: not connected`);
    await this.#opening.promise;
  }

  /**
   * A caller gives up at its deadline and never before, or a script in time could still be executed behind its back: timers
   * may fire early. A busy event loop fires them before it reads sockets: replies that have arrived are let in first.
   */
  async #within<T>(deadlineAtMs: number, work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      const leftMs = deadlineAtMs - this.#options.clock.monotonicMs();
      if (leftMs > 0) timer = setTimeout(wait, Math.ceil(leftMs));
      else
        setImmediate(() => {
          late.reject(new StoreUnavailable('timeout', `${this.label}: no answer in time`));
        });
    };
    timer = setTimeout(wait, Math.max(0, Math.ceil(deadlineAtMs - this.#options.clock.monotonicMs())));
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #watch(): void {
    this.#opening.promise.catch(() => undefined);
    this.#client.on('error', () => undefined); // each failed attempt ends in `close`
    this.#client.on('ready', () => {
      // The client finishes an attempt that was under way when it was told to disconnect.
      if (this.#closed) {
        this.#client.disconnect();
        return;
      }
      this.#opening.resolve(undefined);
      this.#breaker.probeNow();
      this.#askTime().catch(() => undefined); // calls learn the time too
      this.#loadScript().catch(() => undefined); // calls send it when it is not there
    });
    this.#client.on('close', () => {
      this.#opening.reject(new StoreUnavailable('connection', `${this.label}: not connected`));
      this.#opening = Promise.withResolvers<undefined>();
      this.#opening.promise.catch(() => undefined);
    });
  }

  async #probe(): Promise<void> {
    try {
      await this.#askTime();
      this.#unansweredProbes = 0;
    } catch (error) {
      this.#unansweredProbes++;
      if (!this.#closed && this.#unansweredProbes % PROBES_PER_CONNECTION === 0) this.#client.disconnect(true);
      throw error;
    }
  }

  async #askTime(): Promise<void> {
    const { clock, deadlineMs } = this.#options;
    const sentMs = clock.monotonicMs();
    const [seconds, micros] = await this.#within(sentMs + deadlineMs, this.#client.time());
    const storeMicros = Number(seconds) * 1_000_000 + Number(micros);
    if (!this.#isCluster) this.clockOf('').learn(storeMicros, sentMs, clock.monotonicMs());
  }

  async #loadScript(): Promise<void> {
    if (this.#script !== undefined && !this.#isCluster) await this.#client.call('SCRIPT', 'LOAD', this.#script.source);
  }

  #tell(state: 'open' | 'closed'): void {
    const { log, onCircuit } = this.#options;
    if (state === 'open') log.warn('store does not answer', { endpoint: this.label });
    else log.info('store answers again', { endpoint: this.label });
    onCircuit?.(this.label, state);
  }
}

type ClientOptions = Omit<RedisOptions, 'replyMapping'>;

function createClient(endpoint: RedisEndpoint, lookup: LookupFunction | undefined): Redis | Cluster {
  const shared: ClientOptions = {
    db: endpoint.cluster === undefined ? (endpoint.db ?? 0) : 0, // a cluster has no other
    ...(endpoint.username === undefined ? {} : { username: endpoint.username }),
    ...(endpoint.password === undefined ? {} : { password: endpoint.password }),
    protocol: 2,
    disableClientInfo: true,
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    lazyConnect: true,
  };
  const single: ClientOptions = { ...shared, enableOfflineQueue: false, retryStrategy: () => RECONNECT_MS };
  if (endpoint.cluster !== undefined) return createCluster(endpoint.cluster.addresses, shared);
  if (endpoint.sentinel !== undefined) {
    return new Redis({
      ...single,
      name: endpoint.sentinel.masterName,
      sentinels: endpoint.sentinel.addresses.map(splitAddress),
      sentinelRetryStrategy: () => RECONNECT_MS,
      failoverDetector: true,
      // A master that became a replica refuses writes: ask the sentinels again. The command is not sent again.
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
    });
  }
  const server = splitAddress(endpoint.address ?? '');
  return new Redis({
    ...single,
    ...server,
    ...(lookup === undefined ? {} : { Connector: connectorOf(server, lookup) }),
  });
}

/** Connects as the client itself would, but asks `lookup` for the address: what was checked is what is dialled. */
function connectorOf(server: { readonly host: string; readonly port: number }, lookup: LookupFunction) {
  return class GuardedConnector extends AbstractConnector {
    constructor() {
      super(DISCONNECT_TIMEOUT_MS);
    }

    connect(): Promise<Socket> {
      this.connecting = true;
      const stream = connect({ ...server, lookup });
      stream.once('error', (error) => {
        this.firstError = error;
      });
      this.stream = stream;
      return Promise.resolve(stream);
    }
  };
}

function createCluster(addresses: readonly string[], redisOptions: ClientOptions): Cluster {
  return new Cluster(addresses.map(splitAddress), {
    redisOptions,
    lazyConnect: true,
    // Nodes are connected to when they are first needed: what waits for that longer than its deadline does nothing.
    enableOfflineQueue: true,
    clusterRetryStrategy: () => RECONNECT_MS,
    // A redirection was not executed and is followed; a lost connection may have been, and is told.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
  });
}

/** `host:port`, the host of an IPv6 address in brackets. */
function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

function labelOf(endpoint: RedisEndpoint): string {
  const { address, sentinel, cluster } = endpoint;
  if (sentinel !== undefined) return `sentinel ${sentinel.masterName} at ${sentinel.addresses.join(',')}`;
  return cluster === undefined ? (address ?? '') : `cluster ${cluster.addresses.join(',')}`;
}

function unavailable(error: unknown, label: string): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error;
  const reason = error instanceof Error && error.name === 'ReplyError' ? 'reply' : 'connection';
  return new StoreUnavailable(reason, `${label}: ${messageOf(error)}`);
}
