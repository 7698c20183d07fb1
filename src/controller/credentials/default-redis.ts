// Controller: the default Redis of the operator and who may log in to it. Input: flags, files that are mounted and
// may be replaced, a key that all operators share. Output: per namespace the credentials that limiters are given.
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { DEFAULT_REDIS_SECRET } from '../../contract/names.ts';
import type { RedisEndpoint, SecretReference } from '../../contract/limiter-config.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { RedisLogin } from '../../lib/redis-client.ts';
import type { ReconcileSettings, SecretFacts, SecretValue } from '../../reconcile/types.ts';

/** As the flags say it. */
export interface DefaultRedisSettings {
  /** `host:port` */
  readonly address: string;
  readonly username?: string | undefined;
  readonly passwordFile?: string | undefined;
  /** Instead: a Secret of the operator's own namespace, created with a random password when it is missing. */
  readonly passwordSecret?: string | undefined;
  readonly caFile?: string | undefined;
  readonly serverName?: string | undefined;
  /** Whose sidecars are given the one password; without a password every namespace is. */
  readonly namespaces: readonly string[];
  /** true: `username` may make users, and each namespace gets one of its own. */
  readonly acl: boolean;
}

/** A file of the default Redis that cannot be read; the message names the flag. */
export class DefaultRedisError extends Error {}

/** Mounted files are looked at this often. */
const POLL_MS = 2_000;
const PASSWORD_KEY = 'password';
const CA_KEY = 'ca.crt';

interface Files {
  readonly password?: string;
  readonly ca?: string;
}

/** What reconcile knows of the default Redis: names of credentials, no values. */
export function defaultRedisRules(settings: DefaultRedisSettings): ReconcileSettings {
  const { address, username, namespaces, acl } = settings;
  const redis = { address, ...tlsOf(settings) };
  if (acl) return { defaultStore: { type: 'redis', redis }, defaultStoreUsers: true };
  const user = username === undefined ? {} : { username };
  if (!hasPassword(settings)) return { defaultStore: { type: 'redis', redis: { ...redis, ...user } } };
  const password = referenceTo(PASSWORD_KEY);
  return { defaultStore: { type: 'redis', redis: { ...redis, ...user, password } }, defaultStoreSidecars: namespaces };
}

function hasPassword({ passwordFile, passwordSecret }: DefaultRedisSettings): boolean {
  return passwordFile !== undefined || passwordSecret !== undefined;
}

function tlsOf({ caFile, serverName }: DefaultRedisSettings): Pick<RedisEndpoint, 'tls'> {
  if (caFile === undefined && serverName === undefined) return {};
  const ca = caFile === undefined ? {} : { ca: referenceTo(CA_KEY) };
  return { tls: { ...ca, ...(serverName === undefined ? {} : { serverName }) } };
}

function referenceTo(key: string): SecretReference {
  return { secret: { name: DEFAULT_REDIS_SECRET, key } };
}

export class DefaultRedis {
  readonly settings: DefaultRedisSettings;
  readonly #log: Logger;
  readonly #listeners: (() => void)[] = [];
  /**
   * Until the shared one is known: versions differ from those of another operator, and nobody else's password can be
   * made.
   */
  #key: Buffer | undefined;
  #files: Files = {};
  /** From the Secret. */
  #secretPassword: string | undefined;
  #poll: NodeJS.Timeout | undefined;
  #isBroken = false;

  constructor(settings: DefaultRedisSettings, log: Logger) {
    this.settings = settings;
    this.#log = log;
  }

  /** Reads the files and follows them. @throws DefaultRedisError */
  async start(): Promise<void> {
    this.#files = await this.#read();
    this.#poll = setInterval(() => {
      void this.#readAgain();
    }, POLL_MS);
  }

  stop(): void {
    clearInterval(this.#poll);
  }

  /**
   * The key from which passwords are made and by which versions are named; the same for every operator of the
   * cluster.
   */
  setKey(key: Buffer): void {
    this.#key = key;
    this.#tell();
  }

  /** The password in the Secret. */
  setPassword(password: string): void {
    const isFirst = this.#secretPassword === undefined;
    this.#secretPassword = password;
    if (isFirst) return;
    this.#log.info('credentials of the default redis have changed');
    this.#tell();
  }

  /** For an operator that shares nothing. */
  setOwnKey(): void {
    this.setKey(randomBytes(32));
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  get needsKey(): boolean {
    return hasPassword(this.settings);
  }

  /** How the operator itself logs in. */
  login(): RedisLogin {
    const { username, serverName } = this.settings;
    const { ca } = this.#files;
    const password = this.#password;
    const name = serverName === undefined ? {} : { serverName };
    const isTls = ca !== undefined || serverName !== undefined;
    return {
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(isTls ? { tls: { ...(ca === undefined ? {} : { ca }), ...name } } : {}),
    };
  }

  /**
   * The password of a namespace's own user: whoever has the key can make it again, nobody else can. Undefined: no key
   * yet.
   */
  passwordOf(namespace: string, uid: string): string | undefined {
    return this.#key && createHmac('sha256', this.#key).update(`redis-user\0${namespace}\0${uid}`).digest('base64url');
  }

  /** What limiters of a namespace are given; `uid` is that of the namespace, for a user of its own. */
  factsOf(namespace: string, uid: string | undefined): SecretFacts {
    const { ca } = this.#files;
    const values = new Map<string, SecretValue>();
    if (ca !== undefined) values.set(CA_KEY, { uid: 'file', resourceVersion: shortHash(ca), value: ca });
    const own = this.settings.acl ? this.#ownUser(namespace, uid) : this.#onePassword(this.#password);
    if (own === 'unknown') return { state: 'unknown', keys: new Set(), values: new Map() };
    if (own !== undefined) values.set(this.settings.acl ? namespace : PASSWORD_KEY, own);
    return { state: 'found', keys: new Set(values.keys()), values };
  }

  get #password(): string | undefined {
    return this.#secretPassword ?? this.#files.password;
  }

  #ownUser(namespace: string, uid: string | undefined): SecretValue | 'unknown' {
    const value = uid === undefined ? undefined : this.passwordOf(namespace, uid);
    if (uid === undefined || value === undefined) return 'unknown';
    return { uid, resourceVersion: this.#versionOf('key'), value };
  }

  #onePassword(password: string | undefined): SecretValue | 'unknown' | undefined {
    if (password === undefined) return undefined;
    if (this.#key === undefined) return 'unknown';
    return { uid: 'file', resourceVersion: this.#versionOf(password), value: password };
  }

  /** Tells one text from another without telling the text: nobody can try passwords against it. */
  #versionOf(text: string): string {
    return createHmac('sha256', this.#key ?? '')
      .update(`version\0${text}`)
      .digest('hex')
      .slice(0, 16);
  }

  async #readAgain(): Promise<void> {
    try {
      const files = await this.#read();
      this.#isBroken = false;
      if (files.password === this.#files.password && files.ca === this.#files.ca) return;
      this.#files = files;
      this.#log.info('credentials of the default redis have changed');
      this.#tell();
    } catch (error) {
      if (!this.#isBroken) {
        this.#log.error('files of the default redis cannot be read, the last values stay in use', {
          error: messageOf(error),
        });
      }
      this.#isBroken = true;
    }
  }

  async #read(): Promise<Files> {
    const { passwordFile, caFile } = this.settings;
    const password = await contentOf('--default-redis-password-file', passwordFile);
    const ca = await contentOf('--default-redis-ca-file', caFile);
    return { ...(password === undefined ? {} : { password }), ...(ca === undefined ? {} : { ca }) };
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

async function contentOf(flag: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new DefaultRedisError(`${flag}: ${messageOf(error)}`);
  }
  const content = text.replace(/(\r?\n)+$/, '');
  if (content === '') throw new DefaultRedisError(`${flag}: ${path} is empty`);
  return content;
}

/** A certificate is not secret. */
function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
