// Controller: the users of the default Redis, one per namespace. Input: namespaces that have objects, and their
// passwords. Output: ACL users that reach the keys of their namespace with the commands of the store, and nothing
// else; made by the leader alone.
import { createHash } from 'node:crypto';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { createRedisClient, type Cluster, type Redis, type RedisLogin } from '../../lib/redis-client.ts';
import { redisUserOf } from '../../reconcile/compile/compile-store.ts';
import type { Leadership } from '../election/leadership.ts';

export interface RedisUsersSettings {
  readonly address: string;
  /** Called for each new connection. */
  readonly login: () => RedisLogin;
  /** Namespace -> password of its user; undefined: not known yet. */
  readonly wanted: () => ReadonlyMap<string, string | undefined>;
  /** false: the objects of this namespace are not known, so its user stays. Default: always true. */
  readonly isWatched?: (namespace: string) => boolean;
  readonly leadership: Leadership;
  readonly log: Logger;
  readonly everyMs?: number;
  /** A user that nobody wants any more is removed after this long. */
  readonly keepMs?: number;
}

/** What to do, by the first word of the answer of Redis. */
const FIXES: Readonly<Record<string, string>> = {
  NOPERM: 'the user of --default-redis-username needs the right to the command ACL',
  WRONGPASS: 'Redis has a different password: a changed password takes effect when Redis has restarted with it',
  NOAUTH: 'Redis requires a password: set --default-redis-password-file or --default-redis-password-secret',
};
const UNREACHABLE = 'check that Redis runs at this address';
const EVERY_MS = 30_000;
const KEEP_MS = 600_000;
const ANSWER_MS = 2_000;
const PREFIX = redisUserOf('');

/**
 * What the scripts of the store call (src/limiter/store/lua), how they are called, and what a limiter asks of the
 * server.
 */
const SCRIPTED = ['time', 'mget', 'exists', 'set', 'mset', 'pexpireat', 'del'];
const COMMANDS = ['eval', 'evalsha', 'script|load', 'info', ...SCRIPTED];

/**
 * The rules of ACL SETUSER. `reset` first: whatever the user was, this is what it is. The hash, not the password, is
 * sent.
 */
export function userRules(namespace: string, password: string): string[] {
  const hash = createHash('sha256').update(password).digest('hex');
  return ['reset', 'on', `#${hash}`, keysOf(namespace), '-@all', ...COMMANDS.map((command) => `+${command}`)];
}

/** None of the signs in it means anything in a pattern. */
function keysOf(namespace: string): string {
  return `~weir:{${namespace}}:*`;
}

export class RedisUsers {
  readonly #settings: RedisUsersSettings;
  #client: Redis | Cluster | undefined;
  /** Namespace -> the hash of what was set on this connection: a Redis that restarted has forgotten it. */
  #made = new Map<string, string>();
  /** User -> since when nobody wants it, monotonic ms. */
  readonly #unwanted = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isAsked = false;
  #isStopped = false;
  #failures = 0;
  #trouble = '';

  constructor(settings: RedisUsersSettings) {
    this.#settings = settings;
  }

  start(): void {
    this.#connect();
    this.#timer = setInterval(() => {
      this.sync();
    }, this.#settings.everyMs ?? EVERY_MS);
    this.#settings.leadership.onChange((isLeader) => {
      this.#made.clear(); // another leader may have changed them meanwhile
      if (isLeader) this.sync();
    });
  }

  /** The operator's own credentials have changed. */
  reconnect(): void {
    if (this.#isStopped || this.#client === undefined) return;
    this.#client.disconnect();
    this.#made.clear();
    this.#connect();
  }

  /** Brings the users up to date soon; calls meanwhile are one more turn. Never throws. */
  sync(): void {
    this.#isAsked = true;
    this.#running ??= this.#work().finally(() => (this.#running = undefined));
  }

  /** For metrics. */
  stats(): { readonly failures: number; readonly handlerErrors: number; readonly size: number } {
    return { failures: this.#failures, handlerErrors: 0, size: this.#made.size };
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#client?.disconnect();
    await this.#running;
  }

  #connect(): void {
    const { address, login } = this.#settings;
    const client = createRedisClient({ address }, login());
    client.on('error', (error: unknown) => {
      if (client === this.#client) this.#note(error);
    });
    client.on('ready', () => {
      if (this.#isStopped || client !== this.#client) {
        client.disconnect(); // it finishes an attempt that was under way when it was told to
        return;
      }
      this.#made.clear();
      this.sync();
    });
    this.#client = client;
    client.connect().catch(() => undefined); // told by events
  }

  async #work(): Promise<void> {
    while (this.#isAsked && !this.#isStopped) {
      this.#isAsked = false;
      if (!this.#settings.leadership.isLeader() || this.#client?.status !== 'ready') continue;
      try {
        await this.#bringUpToDate();
        if (this.#trouble !== '') this.#settings.log.info('redis users are up to date again');
        this.#trouble = '';
      } catch (error) {
        this.#note(error);
      }
    }
  }

  async #bringUpToDate(): Promise<void> {
    const present = new Set((await this.#ask('USERS')) as string[]);
    const wanted = this.#settings.wanted();
    for (const [namespace, password] of wanted) {
      if (password !== undefined) await this.#make(namespace, password, present);
    }
    const nowMs = performance.now();
    for (const user of this.#unwanted.keys()) if (!present.has(user)) this.#unwanted.delete(user);
    for (const user of present) {
      if (!user.startsWith(PREFIX)) continue;
      const namespace = user.slice(PREFIX.length);
      const isWatched = this.#settings.isWatched?.(namespace) !== false;
      if (wanted.has(namespace) || !isWatched) this.#unwanted.delete(user);
      else await this.#removeLater(user, nowMs);
    }
  }

  async #make(namespace: string, password: string, present: ReadonlySet<string>): Promise<void> {
    const user = redisUserOf(namespace);
    const rules = userRules(namespace, password);
    const text = rules.join(' ');
    if (present.has(user) && this.#made.get(namespace) === text) return;
    await this.#ask('SETUSER', user, ...rules);
    this.#made.set(namespace, text);
    this.#settings.log.info('redis user set', { user });
  }

  async #removeLater(user: string, nowMs: number): Promise<void> {
    const since = this.#unwanted.get(user) ?? nowMs;
    this.#unwanted.set(user, since);
    const namespace = user.slice(PREFIX.length);
    this.#made.delete(namespace);
    if (nowMs - since < (this.#settings.keepMs ?? KEEP_MS)) return;
    this.#unwanted.delete(user);
    // A user of this name that reaches anything else was made by someone else.
    if (!(await this.#isOurs(user, namespace))) return;
    await this.#ask('DELUSER', user);
    this.#settings.log.info('redis user removed', { user });
  }

  async #isOurs(user: string, namespace: string): Promise<boolean> {
    const fields = (await this.#ask('GETUSER', user)) as unknown[] | null;
    const keys = fields?.[fields.indexOf('keys') + 1];
    return String(keys) === keysOf(namespace);
  }

  async #ask(...words: string[]): Promise<unknown> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(new Error('no answer in time'));
    }, ANSWER_MS);
    try {
      return await Promise.race([this.#client?.call('ACL', ...words), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The first word of an answer alone: the rest may repeat what was sent. Logged when it changes. */
  #note(error: unknown): void {
    this.#failures++;
    const word = /^[A-Z]{3,20}\b/.exec(messageOf(error))?.[0] ?? (error instanceof Error ? error.name : 'Error');
    if (this.#isStopped || word === this.#trouble) return;
    this.#trouble = word;
    const fix = FIXES[word] ?? UNREACHABLE;
    this.#settings.log.error('redis users cannot be set', { endpoint: this.#settings.address, answer: word, fix });
  }
}
