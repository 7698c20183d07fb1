// Limiter, store: one connection to one Redis deployment. Input: scripts with a deadline; output: their replies, or
// StoreUnavailable within the deadline. Nothing is sent twice by itself: a script may have been executed although its
// reply never came.
import type { LookupFunction } from 'node:net';
import type { RedisEndpoint } from '../../contract/limiter-config.ts';
import { storeLabelOf } from '../../contract/limiter-report.ts';
import type { Remedy } from '../../contract/store-words.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { callScript, createRedisClient, type Cluster, type Redis, type RedisLogin } from '../../lib/redis-client.ts';
import { Circuits, PROBE_EVERY_MS } from './circuits.ts';
import { ConnectionTrouble } from './connection-trouble.ts';
import { hashTagOf } from './takes.ts';
import { evictionPolicyOf } from './eviction-policy.ts';
import type { LuaScript } from './lua-script.ts';
import { isReplyError } from './server-answer.ts';
import { StoreClock } from './store-clock.ts';
import { StoreUnavailable, type Examination } from './store.ts';

/** A connection on which this many probes in a row got no answer is replaced: its peer may be gone without a word. */
const PROBES_PER_CONNECTION = 5;
/** How long an examination waits for an answer: a pause of this process must not look like an outage. */
const EXAMINE_MS = 1_000;
/** A write that succeeded within this time need not be repeated by an examination. */
export const PROOF_LASTS_MS = 2_000;
const ASK_POLICY_EVERY_MS = 10_000;
const NO_ANSWER = 'no answer in time';
/** What a server says for as long as nobody mends it: one such answer begins an outage. */
const SURE: ReadonlySet<Remedy | undefined> = new Set(['redial', 'wait']);

export interface ConnectionOptions {
  /** The longest that a caller waits for an answer, ms. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** The namespace below whose prefix probes write: an ACL may confine the user to it. */
  readonly namespace: string;
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

/** Writes below a tag as decisions do, by {@link RedisConnection.execute}; rejects when that fails. */
export type Probe = (connection: RedisConnection, tag: string, deadlineMs: number) => Promise<void>;

export class RedisConnection {
  /** Address and user, never a password: for logs and metrics. */
  readonly label: string;
  readonly #options: ConnectionOptions;
  readonly #client: Redis | Cluster;
  readonly #circuits: Circuits;
  readonly #trouble: ConnectionTrouble;
  readonly #clocks = new Map<string, StoreClock>();
  readonly #isCluster: boolean;
  readonly #script: LuaScript;
  readonly #probeWrite: Probe;
  readonly #ownTag: string;
  #opening = Promise.withResolvers<undefined>();
  readonly #proven = Promise.withResolvers<undefined>();
  #isProven = false;
  #unansweredProbes = 0;
  #running = 0;
  #isRetired = false;
  #closed = false;
  /** When a write last succeeded that was made to see whether it does, monotonic ms. */
  #provenMs = -Infinity;
  #policyAskedMs = -Infinity;

  /**
   * `script` is loaded on each connection ahead of its first call, which then fits its deadline on a busy server too.
   */
  constructor(endpoint: RedisEndpoint, login: RedisLogin, options: ConnectionOptions, script: LuaScript, probe: Probe) {
    this.#script = script;
    this.#probeWrite = probe;
    this.label = storeLabelOf(endpoint);
    this.#options = options;
    this.#isCluster = endpoint.cluster !== undefined;
    this.#ownTag = hashTagOf(options.namespace);
    const { log, onCredentials } = options;
    this.#trouble = new ConnectionTrouble({ label: this.label, secrets: [login.password ?? ''], log, onCredentials });
    this.#circuits = new Circuits({
      isCluster: this.#isCluster,
      ownTag: this.#ownTag,
      probe: (tag) => this.#probe(tag),
      onChange: (state) => {
        this.#tell(state);
      },
    });
    const rejections = (): number => this.#trouble.rejections;
    this.#client = createRedisClient(endpoint, login, { lookup: options.lookup, rejections });
    this.#watch();
    this.#client.connect().catch(() => undefined); // told by the events below
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
   * Runs the script below a tag; `prepare` is asked for its arguments when the connection is ready.
   * @throws StoreUnavailable: at once when the circuit is open or there is no connection; at `deadlineAtMs` (monotonic)
   * when nothing was heard; when the server answers with an error.
   */
  async run(tag: string, deadlineAtMs: number, prepare: () => ScriptArguments): Promise<ScriptReply> {
    const circuit = this.#circuits.of(tag);
    if (circuit.state !== 'closed') throw new StoreUnavailable('circuit-open', `${this.label} is in an outage`);
    try {
      const reply = await this.#execute(deadlineAtMs, prepare);
      circuit.succeeded();
      return reply;
    } catch (error) {
      circuit.failed(SURE.has(this.#noteFailure(error)));
      throw this.#unavailable(error);
    }
  }

  /** As {@link run}, whatever the circuit: for probes. */
  async execute(tag: string, deadlineAtMs: number, prepare: () => ScriptArguments): Promise<ScriptReply> {
    try {
      return await this.#execute(deadlineAtMs, prepare);
    } catch (error) {
      if (SURE.has(this.#noteFailure(error))) this.#circuits.of(tag).failed(true);
      throw this.#unavailable(error);
    }
  }

  async #execute(deadlineAtMs: number, prepare: () => ScriptArguments): Promise<ScriptReply> {
    this.#running++;
    try {
      if (this.#client.status !== 'ready') await this.#within(deadlineAtMs, this.#becomeReady());
      const { keys, program } = prepare();
      const sentMs = this.#options.clock.monotonicMs();
      const bytes = await this.#within(deadlineAtMs, this.#evaluate(keys, program));
      return { bytes, sentMs, heardMs: this.#options.clock.monotonicMs() };
    } finally {
      this.#running--;
      this.#closeWhenIdle();
    }
  }

  /** Resolves when the server has taken the credentials and a write; never rejects. */
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
   * Judged by what matters: a server serves when a write as decisions make it succeeds. One whose circuit is open
   * does not; one that took such a write a moment ago does; any other is sent one.
   */
  async examine(): Promise<Examination> {
    if (this.#circuits.isAnyOpen) return this.#unreachable();
    const { clock } = this.#options;
    try {
      const startMs = clock.monotonicMs();
      if (startMs - this.#provenMs > PROOF_LASTS_MS) await this.#prove(this.#ownTag, EXAMINE_MS);
      if (startMs - this.#policyAskedMs < ASK_POLICY_EVERY_MS) return { reachable: true, detail: '' };
      this.#policyAskedMs = startMs;
      const asked = this.#within(startMs + 2 * EXAMINE_MS, evictionPolicyOf(this.#client));
      const evictionPolicy = await asked.catch(() => undefined);
      return { reachable: true, detail: '', ...(evictionPolicy === undefined ? {} : { evictionPolicy }) };
    } catch {
      return this.#unreachable();
    }
  }

  #unreachable(): Examination {
    this.#policyAskedMs = -Infinity;
    return { reachable: false, detail: this.#trouble.text || NO_ANSWER };
  }

  /** Pending calls reject with StoreUnavailable. */
  close(): void {
    this.#closed = true;
    this.#circuits.stop();
    this.#client.disconnect();
  }

  /** By its hash; a server that does not know the script (restart, fail-over, SCRIPT FLUSH) is sent its text. */
  async #evaluate(keys: readonly string[], program: Buffer): Promise<Buffer> {
    const { name, sha, source } = this.#script;
    let reply: unknown;
    try {
      reply = await callScript(this.#client, 'EVALSHA', sha, keys, program);
    } catch (error) {
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      reply = await callScript(this.#client, 'EVAL', source, keys, program);
    }
    if (!Buffer.isBuffer(reply)) throw new StoreUnavailable('reply', `${this.label}: ${name} answered no bytes`);
    return reply;
  }

  async #becomeReady(): Promise<void> {
    const { status } = this.#client;
    if (this.#trouble.areCredentialsRefused)
      throw new StoreUnavailable('credentials', `${this.label}: ${this.#trouble.text}`);
    if (status === 'close' || status === 'reconnecting' || status === 'end')
      throw new StoreUnavailable('connection', `${this.label}: not connected`);
    await this.#opening.promise;
  }

  /**
   * A caller gives up at its deadline and never before, or a script in time could still be executed behind its back:
   * timers may fire early. A busy event loop fires them before it reads sockets: replies that have arrived are let in
   * first.
   */
  async #within<T>(deadlineAtMs: number, work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      const leftMs = deadlineAtMs - this.#options.clock.monotonicMs();
      if (leftMs > 0) timer = setTimeout(wait, Math.ceil(leftMs));
      else
        setImmediate(() => {
          late.reject(new StoreUnavailable('timeout', `${this.label}: ${NO_ANSWER}`));
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
      if (!this.#closed && this.#trouble.connectionFailed(error) === 'login') this.#client.disconnect(true);
    });
    this.#client.on('ready', () => {
      // The client finishes an attempt that was under way when it was told to disconnect.
      if (this.#closed) {
        this.#client.disconnect();
        return;
      }
      this.#opening.resolve(undefined);
      this.#policyAskedMs = -Infinity;
      this.#circuits.probeNow();
      this.#greet();
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

  /** Notes why a call has failed and does what the table says. */
  #noteFailure(error: unknown): Remedy | undefined {
    if (this.#closed) return undefined;
    const remedy = this.#trouble.callFailed(error);
    if (remedy === 'redial') this.#redial();
    return remedy;
  }

  /** The name is looked up anew: after a fail-over by address it leads to another server. Once per connection. */
  #redial(): void {
    if (this.#closed || this.#client.status !== 'ready') return;
    this.#trouble.rejected();
    this.#client.disconnect(true);
  }

  #unavailable(error: unknown): StoreUnavailable {
    if (error instanceof StoreUnavailable) return error;
    const message = `${this.label}: ${this.#trouble.text || messageOf(error)}`;
    if (!isReplyError(error)) return new StoreUnavailable('connection', `${this.label}: ${messageOf(error)}`);
    return new StoreUnavailable(this.#trouble.areCredentialsRefused ? 'credentials' : 'reply', message);
  }

  /**
   * The first words on a connection: the time, then the script (calls send it when it is not there; a server that
   * does not know us hangs up on what is so long), then a write, again until one has succeeded.
   */
  #greet(): void {
    const greeting = async (): Promise<void> => {
      await this.#askTime();
      await this.#loadScript().catch(() => undefined);
      if (!this.#isProven) await this.#prove(this.#ownTag, this.#options.deadlineMs);
    };
    greeting().catch((error: unknown) => {
      this.#noteFailure(error);
      if (this.#isProven || this.#closed || this.#client.status !== 'ready') return;
      setTimeout(() => {
        if (this.#client.status === 'ready') this.#greet();
      }, PROBE_EVERY_MS).unref();
    });
  }

  async #probe(tag: string): Promise<void> {
    try {
      await this.#prove(tag, this.#options.deadlineMs);
      this.#unansweredProbes = 0;
    } catch (error) {
      this.#unansweredProbes++;
      if (this.#unansweredProbes % PROBES_PER_CONNECTION === 0) this.#replaceConnection();
      throw error;
    }
  }

  async #prove(tag: string, deadlineMs: number): Promise<void> {
    await this.#probeWrite(this, tag, deadlineMs);
    this.#provenMs = this.#options.clock.monotonicMs();
    this.#isProven = true;
    this.#proven.resolve(undefined);
    this.#trouble.proven();
  }

  /**
   * Never in the middle of an attempt, which has its own deadline: told to disconnect while it asks sentinels, the
   * client ends for good.
   */
  #replaceConnection(): void {
    if (!this.#closed && this.#client.status !== 'connecting') this.#client.disconnect(true);
  }

  async #askTime(): Promise<void> {
    const { clock, deadlineMs } = this.#options;
    const sentMs = clock.monotonicMs();
    const [seconds, micros] = await this.#within(sentMs + deadlineMs, this.#client.time());
    const storeMicros = Number(seconds) * 1_000_000 + Number(micros);
    if (!this.#isCluster) this.clockOf('').learn(storeMicros, sentMs, clock.monotonicMs());
  }

  async #loadScript(): Promise<void> {
    if (!this.#isCluster) await this.#client.call('SCRIPT', 'LOAD', this.#script.source);
  }

  #tell(state: 'open' | 'closed'): void {
    const { log, onCircuit } = this.#options;
    const { text } = this.#trouble;
    const answer = text === '' ? {} : { answer: text };
    if (state === 'open') log.warn('store does not answer', { endpoint: this.label, ...answer });
    else log.info('store answers again', { endpoint: this.label });
    onCircuit?.(this.label, state);
  }
}
