// Limiter, store: buckets in Redis, shared by every limiter. Input: takes; output: decisions of lua/decide.lua. All
// that one event-loop tick asks of one hash tag goes out as one script call.
import { randomBytes } from 'node:crypto';
import type { RedisEndpoint } from '../../contract/limiter-config.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { RedisLogin } from '../../lib/redis-client.ts';
import { WindowCalendar } from './rule/calendar-window.ts';
import { checkReservation, checkSettlement } from './takes.ts';
import {
  decodeReply,
  encodeCall,
  type DecideCall,
  type DecideReply,
  type Operation,
  type Result,
} from './decide-script.ts';
import { loadScript, type LuaScript } from './lua-script.ts';
import { NoConnection } from './no-connection.ts';
import { RedisConnection, type ConnectionOptions, type Probe, type ScriptArguments } from './redis-connection.ts';
import { SettlementQueue } from './settlement-queue.ts';
import {
  StoreUnavailable,
  type Applied,
  type Examination,
  type Reservation,
  type Settlement,
  type Store,
  type StoreDecision,
} from './store.ts';

/**
 * Decisions per script call: half of what a tick asks, within these bounds. Of two calls one is decided while the
 * other is prepared (in one call, server and limiter would take turns), and a call keeps the server from everyone
 * else for about half a millisecond.
 */
const LEAST_PER_CALL = 32;
const MOST_PER_CALL = 128;
/** Settlements that wait for the store to come back. */
const WAITING_SETTLEMENTS = 100_000;

export interface RedisStoreOptions extends ConnectionOptions {
  /** Settlements that were given up: the store was away for too long, or too many waited. */
  readonly onSettlementsDropped?: ((count: number) => void) | undefined;
  /** Keys that held no readable state: their buckets now count as used up. */
  readonly onBroken?: ((keys: readonly string[]) => void) | undefined;
  /** Tests bring a script with a time of their own. */
  readonly script?: LuaScript;
}

/** How to log in, or the names of the credentials that there are no values of. */
export type Login = RedisLogin | { readonly missing: readonly string[] };

interface Asked {
  readonly operation: Operation;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

const decideScript = loadScript('decide');

export class RedisStore implements Store {
  readonly #options: RedisStoreOptions;
  readonly #endpoint: RedisEndpoint;
  #connection: RedisConnection | NoConnection;
  /** With newer credentials, which the server has not taken yet. */
  #next: RedisConnection | undefined;
  readonly #reached = Promise.withResolvers<undefined>();
  #wasReached = false;
  readonly #owner = randomBytes(12).toString('base64url');
  readonly #script: LuaScript;
  readonly #calendar = new WindowCalendar();
  readonly #settlements: SettlementQueue<{ readonly tag: string; readonly operation: Operation }>;
  #asked = new Map<string, Asked[]>();
  #closed = false;

  constructor(endpoint: RedisEndpoint, options: RedisStoreOptions, login: Login = {}) {
    this.#options = options;
    this.#endpoint = endpoint;
    this.#script = options.script ?? decideScript;
    this.#connection = this.#open(login);
    this.#settlements = new SettlementQueue({
      send: ({ tag, operation }) => this.#ask(tag, operation),
      limit: WAITING_SETTLEMENTS,
      clock: options.clock,
      onDropped: (count) => {
        options.log.warn('settlements dropped', { endpoint: this.#connection.label, count });
        options.onSettlementsDropped?.(count);
      },
    });
  }

  reserve(reservation: Reservation): Promise<StoreDecision> {
    return this.#decide('reserve', reservation);
  }

  peek(reservation: Reservation): Promise<StoreDecision> {
    return this.#decide('peek', reservation);
  }

  /** While the store is away the settlement waits here, and counts as applied: it is repeated for 10 minutes. */
  async settle(settlement: Settlement): Promise<Applied> {
    const tag = checkSettlement(settlement);
    const { reservation, actual, takenAtMicros } = settlement;
    const deltas = reservation.takes.map(({ amount }, index) => (actual[index] ?? 0) - amount);
    const owner = this.#owner;
    return await this.#record(tag, { kind: 'settle', reservation, deltas, reservedAt: takenAtMicros, owner });
  }

  /** While the store is away it waits like a settlement. */
  async report(reservation: Reservation): Promise<Applied> {
    return await this.#record(checkReservation(reservation), { kind: 'report', reservation });
  }

  /**
   * Other credentials for the same Redis. The present connection serves until the server has taken them, and then
   * ends what it has begun: no call fails. Where there are none any more it ends at once.
   */
  renew(login: Login): void {
    if (this.#closed) return;
    this.#next?.close();
    this.#next = undefined;
    const next = this.#open(login);
    if (next instanceof NoConnection || this.#connection instanceof NoConnection) {
      this.#replace(next);
      return;
    }
    this.#next = next;
    void next.whenProven().then(() => {
      if (this.#next !== next) return;
      this.#next = undefined;
      this.#replace(next);
      this.#options.log.info('store connected with other credentials', { endpoint: next.label });
    });
  }

  /** Resolves when the server has taken the credentials and a write for the first time; never rejects. */
  whenReached(): Promise<undefined> {
    return this.#reached.promise;
  }

  wasReached(): boolean {
    return this.#wasReached;
  }

  examine(): Promise<Examination> {
    return this.#connection.examine();
  }

  #open(login: Login): RedisConnection | NoConnection {
    if ('missing' in login) return new NoConnection(this.#endpoint, login.missing, this.#options);
    const probe: Probe = (connection, tag, deadlineMs) => this.#probe(connection, tag, deadlineMs);
    const connection = new RedisConnection(this.#endpoint, login, this.#options, this.#script, probe);
    void connection.whenProven().then(() => {
      this.#wasReached = true;
      this.#reached.resolve(undefined);
    });
    return connection;
  }

  #replace(next: RedisConnection | NoConnection): void {
    const before = this.#connection;
    this.#connection = next;
    if (next instanceof NoConnection) before.close();
    else before.retire();
  }

  /** Waiting settlements are tried once more, within one deadline. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#settlements.close();
    this.#closed = true;
    this.#next?.close();
    this.#next = undefined;
    this.#connection.close();
  }

  /** No async function: each costs a promise more per decision. */
  #decide(kind: 'reserve' | 'peek', reservation: Reservation): Promise<StoreDecision> {
    try {
      const tag = checkReservation(reservation);
      if (tag === undefined)
        return Promise.resolve({ outcome: 'admitted', atMicros: this.#options.clock.nowMicros(), states: [] });
      return this.#ask(tag, { kind, reservation }) as Promise<StoreDecision>;
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(messageOf(error)));
    }
  }

  async #record(tag: string | undefined, operation: Operation): Promise<Applied> {
    if (tag === undefined) return { applied: true };
    try {
      return (await this.#ask(tag, operation)) as Applied;
    } catch (error) {
      if (error instanceof StoreUnavailable && !this.#closed && this.#settlements.add({ tag, operation }))
        return { applied: true };
      throw error;
    }
  }

  #ask(tag: string, operation: Operation): Promise<Result> {
    if (this.#closed) return Promise.reject(new StoreUnavailable('connection', 'the store is closed'));
    return new Promise((resolve, reject) => {
      if (this.#asked.size === 0)
        setImmediate(() => {
          this.#sendAsked();
        });
      const asked = this.#asked.get(tag);
      if (asked === undefined) this.#asked.set(tag, [{ operation, resolve, reject }]);
      else asked.push({ operation, resolve, reject });
    });
  }

  #sendAsked(): void {
    const tick = this.#asked;
    this.#asked = new Map();
    for (const [tag, asked] of tick) {
      const perCall = Math.min(MOST_PER_CALL, Math.max(LEAST_PER_CALL, Math.ceil(asked.length / 2)));
      for (let from = 0; from < asked.length; from += perCall) void this.#send(tag, asked.slice(from, from + perCall));
    }
  }

  /** Never rejects: every caller is answered. */
  async #send(tag: string, asked: readonly Asked[]): Promise<void> {
    try {
      const operations = asked.map(({ operation }) => operation);
      const deadlineAtMs = this.#options.clock.monotonicMs() + this.#options.deadlineMs;
      const reply = await this.#call(tag, operations, deadlineAtMs);
      this.#wasReached = true;
      if (reply.broken.length > 0) this.#tellBroken(reply.broken);
      asked.forEach(({ resolve }, index) => {
        resolve(reply.results[index] ?? { applied: false });
      });
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }

  /**
   * Every command that a decision may need, as a decision is sent; it also goes out in an outage. Rejects when it
   * fails.
   */
  async #probe(connection: RedisConnection, tag: string, deadlineMs: number): Promise<void> {
    const deadlineAtMs = this.#options.clock.monotonicMs() + deadlineMs;
    await this.#call(tag, [{ kind: 'probe' }], deadlineAtMs, connection);
  }

  /**
   * A call that came late or with the wrong windows has done nothing: with the time that it told, it is sent once
   * more.
   */
  async #call(
    tag: string,
    operations: readonly Operation[],
    deadlineAtMs: number,
    probed?: RedisConnection,
  ): Promise<DecideReply & { readonly status: 'done' }> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const reply = await this.#attempt(tag, operations, deadlineAtMs, probed);
      if (reply.status === 'done') return reply;
    }
    throw new StoreUnavailable('timeout', `${this.#connection.label}: its clock is not steady`);
  }

  async #attempt(
    tag: string,
    operations: readonly Operation[],
    deadlineAtMs: number,
    probed?: RedisConnection,
  ): Promise<DecideReply> {
    const connection = probed ?? this.#connection; // another may take its place meanwhile
    const clock = connection.clockOf(tag);
    let call: DecideCall | undefined;
    const prepare = (): ScriptArguments => {
      const nowMicros = clock.at(this.#options.clock.monotonicMs());
      return (call = encodeCall(tag, operations, clock.at(deadlineAtMs), nowMicros, this.#calendar));
    };
    const reply = await (probed === undefined
      ? connection.run(tag, deadlineAtMs, prepare)
      : probed.execute(tag, deadlineAtMs, prepare));
    const decoded = this.#decode(reply.bytes, call);
    clock.learn(decoded.nowMicros, reply.sentMs, reply.heardMs);
    return decoded;
  }

  #decode(bytes: Buffer, call: DecideCall | undefined): DecideReply {
    try {
      if (call === undefined) throw new RangeError('nothing was asked');
      return decodeReply(bytes, call, this.#calendar);
    } catch (error) {
      throw new StoreUnavailable('reply', `${this.#connection.label}: ${messageOf(error)}`);
    }
  }

  #tellBroken(keys: readonly string[]): void {
    this.#options.log.error('unreadable bucket state replaced by a used-up one', {
      endpoint: this.#connection.label,
      count: keys.length,
    });
    this.#options.onBroken?.(keys);
  }
}
