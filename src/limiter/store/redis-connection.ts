// Limiter, store: one connection to one Redis deployment. Input: scripts with a deadline; output: their replies, or
// StoreUnavailable within the deadline. Nothing is sent twice by itself: a script may have been executed although its reply never came.
import type { LookupFunction } from 'node:net';
import type { RedisEndpoint } from '../../contract/limiter-config.ts';
import { storeLabelOf } from '../../contract/limiter-report.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { errorCode, messageOf } from '../../lib/thrown.ts';
import { callScript, createRedisClient, Cluster, type Redis, type RedisLogin } from '../../lib/redis-client.ts';
import { CircuitBreaker, type CircuitState } from './circuit-breaker.ts';
import type { LuaScript } from './lua-script.ts';
import { StoreClock } from './store-clock.ts';
import { StoreUnavailable, type Examination } from './store.ts';

const FAILURES_TO_OPEN = 3;
const PROBE_EVERY_MS = 200;
/** A connection on which this many probes in a row got no answer is replaced: its peer may be gone without a word. */
const PROBES_PER_CONNECTION = 5;
/** How long an examination waits for an answer. */
const EXAMINE_MS = 1_000;
/** What was heard within this time need not be asked again. */
const HEARD_LATELY_MS = 1_000;
const ASK_POLICY_EVERY_MS = 10_000;
const NO_EVICTION = 'noeviction';

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
  /** When the server last answered a call, monotonic ms. */
  #heardMs = -Infinity;
  #policyAskedMs = -Infinity;
  /** Why the connection is not there. */
  #lastTrouble = '';

  /** `script` is loaded on each connection ahead of its first call, which then fits its deadline on a busy server too. */
  constructor(endpoint: RedisEndpoint, login: RedisLogin, options: ConnectionOptions, script?: LuaScript) {
    this.#script = script;
    this.label = storeLabelOf(endpoint);
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
      this.#heardMs = this.#options.clock.monotonicMs();
      return { bytes, sentMs, heardMs: this.#heardMs };
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

  /**
   * A server whose circuit is open does not answer in time; one that answered a call a moment ago does; any other is asked
   * for the time, with a deadline of its own: a pause of this process must not look like an outage.
   */
  async examine(): Promise<Examination> {
    if (this.#breaker.state !== 'closed') return this.#unreachable(`no answer within ${this.#options.deadlineMs} ms`);
    const { clock } = this.#options;
    try {
      const startMs = clock.monotonicMs();
      if (startMs - this.#heardMs > HEARD_LATELY_MS) await this.#askTime(EXAMINE_MS);
      if (startMs - this.#policyAskedMs < ASK_POLICY_EVERY_MS) return { reachable: true, detail: '' };
      this.#policyAskedMs = startMs;
      const evictionPolicy = await this.#evictionPolicy(startMs + 2 * EXAMINE_MS).catch(() => undefined);
      return { reachable: true, detail: '', ...(evictionPolicy === undefined ? {} : { evictionPolicy }) };
    } catch (error) {
      return this.#unreachable(shortReasonOf(error));
    }
  }

  #unreachable(otherwise: string): Examination {
    this.#policyAskedMs = -Infinity;
    if (this.#refusal !== '') return { reachable: false, detail: this.#refusal };
    const isConnected = this.#client.status === 'ready';
    return { reachable: false, detail: isConnected || this.#lastTrouble === '' ? otherwise : this.#lastTrouble };
  }

  /** The first policy of its servers that evicts, else `noeviction`; undefined when none tells. */
  async #evictionPolicy(deadlineAtMs: number): Promise<string | undefined> {
    const servers = this.#client instanceof Cluster ? this.#client.nodes('master') : [this.#client];
    const answers = servers.map((server) => this.#within(deadlineAtMs, server.info('memory')));
    const policies = (await Promise.all(answers)).flatMap(
      (text) => /^maxmemory_policy:([\w-]+)/m.exec(text)?.[1] ?? [],
    );
    return policies.find((policy) => policy !== NO_EVICTION) ?? policies[0];
  }

  /** Pending calls reject with StoreUnavailable. */
  close(): void {
    this.#closed = true;
    this.#breaker.stop();
    this.#client.disconnect();
  }

  /** By its hash; a server that does not know the script (restart, fail-over, SCRIPT FLUSH) is sent its text. */
  async #evaluate(script: LuaScript, keys: readonly string[], program: Buffer): Promise<Buffer> {
    let reply: unknown;
    try {
      reply = await callScript(this.#client, 'EVALSHA', script.sha, keys, program);
    } catch (error) {
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      reply = await callScript(this.#client, 'EVAL', script.source, keys, program);
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
      this.#lastTrouble = shortReasonOf(error);
      if (this.#noteRefusal(error)) this.#client.disconnect(true);
    });
    this.#client.on('ready', () => {
      // The client finishes an attempt that was under way when it was told to disconnect.
      if (this.#closed) {
        this.#client.disconnect();
        return;
      }
      this.#opening.resolve(undefined);
      this.#policyAskedMs = -Infinity;
      this.#breaker.probeNow();
      this.#prove();
    });
    // The client gives up on its own account only by mistake.
    this.#client.on('end', () => {
      setTimeout(() => {
        if (!this.#closed && this.#client.status === 'end') this.#client.connect().catch(() => undefined);
      }, PROBE_EVERY_MS).unref();
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

  /**
   * Asks for the time, again while the first answer is missing; later calls learn the time too. Then the script is loaded (calls
   * send it when it is not there): a server that does not know us hangs up on what is so long.
   */
  #prove(): void {
    const load = (): void => {
      this.#loadScript().catch(() => undefined);
    };
    this.#askTime().then(load, () => {
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
      if (this.#unansweredProbes % PROBES_PER_CONNECTION === 0) this.#replaceConnection();
      throw error;
    }
  }

  /** Never in the middle of an attempt, which has its own deadline: told to disconnect while it asks sentinels, the client ends for good. */
  #replaceConnection(): void {
    if (!this.#closed && this.#client.status !== 'connecting') this.#client.disconnect(true);
  }

  async #askTime(deadlineMs = this.#options.deadlineMs): Promise<void> {
    const { clock } = this.#options;
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

/** What an error says for people, without addresses or credentials: `ECONNREFUSED`, `LOADING`, `no answer in time`. */
function shortReasonOf(error: unknown): string {
  if (error instanceof StoreUnavailable) return error.message.replace(/^.*: /, '');
  return errorCode(error) ?? /^[A-Z]{2,20}\b/.exec(messageOf(error))?.[0] ?? 'not connected';
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
