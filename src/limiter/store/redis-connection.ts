// Limiter, store: one connection to one Redis deployment. Input: scripts with a deadline; output: their replies, or
// StoreUnavailable within the deadline. Nothing is sent twice by itself: a script may have been executed although its reply never came.
import type { LookupFunction } from 'node:net';
import type { RedisEndpoint } from '../../contract/limiter-config.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf, type Logger } from '../../lib/log.ts';
import { createRedisClient, type Cluster, type Redis, type RedisLogin } from '../../lib/redis-client.ts';
import { CircuitBreaker, type CircuitState } from './circuit-breaker.ts';
import type { LuaScript } from './lua-script.ts';
import { StoreClock } from './store-clock.ts';
import { StoreUnavailable } from './store.ts';

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
  /** Told when the server begins to refuse the credentials (or there are none), and when it takes them. */
  readonly onCredentials?: ((endpoint: string, state: 'refused' | 'accepted') => void) | undefined;
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
  /** Address and user, never a password: for logs and metrics. */
  readonly label: string;
  readonly #options: ConnectionOptions;
  readonly #client: Redis | Cluster;
  readonly #breaker: CircuitBreaker;
  readonly #clocks = new Map<string, StoreClock>();
  readonly #isCluster: boolean;
  readonly #script: LuaScript | undefined;
  #opening = Promise.withResolvers<undefined>();
  readonly #proven = Promise.withResolvers<undefined>();
  #isProven = false;
  #unansweredProbes = 0;
  /** Attempts in a row that the server refused, and its word for it. */
  #refusals = 0;
  #refusal = '';
  #running = 0;
  #isRetired = false;
  #closed = false;

  /** `script` is loaded on each connection ahead of its first call, which then fits its deadline on a busy server too. */
  constructor(endpoint: RedisEndpoint, login: RedisLogin, options: ConnectionOptions, script?: LuaScript) {
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
    this.#client = createRedisClient(endpoint, login, { lookup: options.lookup, refusals: () => this.#refusals });
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
    this.#running++;
    try {
      if (this.#client.status !== 'ready') await this.#within(deadlineAtMs, this.#becomeReady());
      const { keys, program } = prepare();
      const sentMs = this.#options.clock.monotonicMs();
      const bytes = await this.#within(deadlineAtMs, this.#evaluate(script, keys, program));
      this.#breaker.succeeded();
      if (this.#refusal !== '') this.#noteAcceptance();
      return { bytes, sentMs, heardMs: this.#options.clock.monotonicMs() };
    } catch (error) {
      this.#noteRefusal(error);
      this.#breaker.failed();
      throw unavailable(error, this.label);
    } finally {
      this.#running--;
      this.#closeWhenIdle();
    }
  }

  /** Resolves when the server has taken the credentials and answered; never rejects. */
  whenProven(): Promise<undefined> {
    return this.#proven.promise;
  }

  /** No new calls come: closes when those that run have ended. */
  retire(): void {
    this.#isRetired = true;
    this.#closeWhenIdle();
  }

  #closeWhenIdle(): void {
    if (this.#isRetired && this.#running === 0) this.close();
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
    if (this.#refusal !== '') throw new StoreUnavailable('credentials', `${this.label}: ${this.#refusal}`);
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
    // Each failed attempt ends in `close`; one that the server refused says so first.
    this.#client.on('error', (error: unknown) => {
      if (this.#noteRefusal(error)) this.#client.disconnect(true);
    });
    this.#client.on('ready', () => {
      // The client finishes an attempt that was under way when it was told to disconnect.
      if (this.#closed) {
        this.#client.disconnect();
        return;
      }
      this.#opening.resolve(undefined);
      this.#breaker.probeNow();
      this.#prove();
      this.#loadScript().catch(() => undefined); // calls send it when it is not there
    });
    this.#client.on('close', () => {
      this.#opening.reject(new StoreUnavailable('connection', `${this.label}: not connected`));
      this.#opening = Promise.withResolvers<undefined>();
      this.#opening.promise.catch(() => undefined);
    });
  }

  /** Logs the begin of a refusal once: the server's word for it, never the command that it refused. */
  #noteRefusal(error: unknown): boolean {
    const word = refusalIn(error);
    if (word === undefined || this.#closed) return false;
    this.#refusals++;
    if (this.#refusal === '') {
      this.#options.log.warn('store refuses the credentials', { endpoint: this.label, answer: word });
      this.#options.onCredentials?.(this.label, 'refused');
    }
    this.#refusal = `the credentials are refused (${word})`;
    return true;
  }

  #noteAcceptance(): void {
    this.#isProven = true;
    this.#proven.resolve(undefined);
    if (this.#refusal !== '') {
      this.#options.log.info('store accepts the credentials', { endpoint: this.label });
      this.#options.onCredentials?.(this.label, 'accepted');
    }
    this.#refusals = 0;
    this.#refusal = '';
  }

  /** Asks for the time, again while the first answer is missing; later calls learn the time too. */
  #prove(): void {
    this.#askTime().catch(() => {
      if (this.#isProven || this.#closed || this.#client.status !== 'ready') return;
      setTimeout(() => {
        if (this.#client.status === 'ready') this.#prove();
      }, PROBE_EVERY_MS).unref();
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
    const [seconds, micros] = await this.#within(sentMs + deadlineMs, this.#time());
    this.#noteAcceptance();
    const storeMicros = Number(seconds) * 1_000_000 + Number(micros);
    if (!this.#isCluster) this.clockOf('').learn(storeMicros, sentMs, clock.monotonicMs());
  }

  async #time(): Promise<readonly (number | string)[]> {
    try {
      return await this.#client.time();
    } catch (error) {
      this.#noteRefusal(error);
      throw error;
    }
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

/** A Redis as logs and metrics name it. */
export function labelOf(endpoint: RedisEndpoint): string {
  const { address, sentinel, cluster, username } = endpoint;
  const user = username === undefined ? '' : `${username}@`;
  if (sentinel !== undefined) return `${user}sentinel ${sentinel.masterName} at ${sentinel.addresses.join(',')}`;
  return cluster === undefined ? `${user}${address ?? ''}` : `${user}cluster ${cluster.addresses.join(',')}`;
}

/** First words of the answers to a login that is wrong, missing, or not allowed what the store does. */
const REFUSALS = ['WRONGPASS', 'NOAUTH', 'NOPERM'];

function refusalIn(error: unknown): string | undefined {
  const message = messageOf(error);
  return REFUSALS.find((word) => message.startsWith(word));
}

function unavailable(error: unknown, label: string): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error;
  if (refusalIn(error) !== undefined) return new StoreUnavailable('credentials', `${label}: ${messageOf(error)}`);
  const reason = error instanceof Error && error.name === 'ReplyError' ? 'reply' : 'connection';
  return new StoreUnavailable(reason, `${label}: ${messageOf(error)}`);
}
