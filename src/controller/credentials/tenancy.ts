// Controller: the wiring of the default Redis. Input: flags, the Secrets of a provider, the API server. Output: what
// reconcile is told of it, every credential by object, and users of Redis that are kept up to date.
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { ReconcileSettings } from '../../reconcile/types.ts';
import { Credentials } from './credentials.ts';
import { DefaultRedis, defaultRedisRules, type DefaultRedisSettings } from './default-redis.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { RESOURCES, type Secret } from '../kube/kube-types.ts';
import type { Leadership } from '../election/leadership.ts';
import { NamespaceUids } from './namespace-uids.ts';
import { PasswordSecret } from './password-secret.ts';
import type { Provider, SecretReader } from '../provider/provider.ts';
import { RedisUsers } from './redis-users.ts';

export interface TenancySettings {
  /** Absent: objects of scope Shared name their own. */
  readonly defaultRedis?: DefaultRedisSettings;
  /** Namespaces that the operator watches; absent or empty: all. */
  readonly watched?: readonly string[];
  /** The Secret with the key that all operators share. */
  readonly keySecret: { readonly namespace: string; readonly name: string };
  /** How often the users of Redis are looked at, and how long one stays that nobody wants any more, ms. */
  readonly users?: { readonly everyMs: number; readonly keepMs: number } | undefined;
}

export interface TenancyParts {
  /** Absent: no cluster. */
  readonly kube: Kube | undefined;
  readonly secrets: SecretReader;
  readonly leadership: Leadership;
  readonly log: Logger;
}

const KEY = 'key';
const KEY_BYTES = 32;
const RETRY_MS = 2_000;

export class Tenancy {
  /** What reconcile knows. */
  readonly rules: ReconcileSettings;
  readonly secrets: SecretReader;
  readonly #settings: TenancySettings;
  readonly #parts: TenancyParts;
  readonly #redis: DefaultRedis | undefined;
  readonly #uids: NamespaceUids | undefined;
  readonly #users: RedisUsers | undefined;
  readonly #password: PasswordSecret | undefined;
  readonly #stopping = new AbortController();

  constructor(settings: TenancySettings, parts: TenancyParts) {
    this.#settings = settings;
    this.#parts = parts;
    const { defaultRedis, watched = [] } = settings;
    this.rules = defaultRedis === undefined ? {} : defaultRedisRules(defaultRedis);
    this.secrets = parts.secrets;
    if (defaultRedis === undefined) return;
    const { kube, log, leadership } = parts;
    const redis = new DefaultRedis(defaultRedis, log);
    this.#redis = redis;
    this.#password = this.#makePassword(redis);
    const uids = kube === undefined || !defaultRedis.acl ? undefined : new NamespaceUids(kube, log);
    this.#uids = uids;
    const credentials = new Credentials(parts.secrets, redis, uids);
    this.secrets = credentials;
    if (uids === undefined) return;
    const passwordOf = (namespace: string): string | undefined => {
      const uid = uids.uidOf(namespace);
      return uid === undefined ? undefined : redis.passwordOf(namespace, uid);
    };
    const users = new RedisUsers({
      address: defaultRedis.address,
      login: () => redis.login(),
      wanted: () => new Map(credentials.namespaces().map((namespace) => [namespace, passwordOf(namespace)])),
      isWatched: (namespace) => watched.length === 0 || watched.includes(namespace),
      leadership,
      log,
      ...settings.users,
    });
    this.#users = users;
    redis.onChange(() => {
      users.reconnect();
    });
    uids.onChange(() => {
      users.sync();
    });
  }

  /** Resolves when every password can be made. @throws DefaultRedisError for files that cannot be read. */
  async start(): Promise<void> {
    await this.#redis?.start();
    await this.#password?.start();
    if (this.#redis?.needsKey === true) {
      if (this.#parts.kube === undefined) this.#redis.setOwnKey();
      else await this.#loadKey(this.#parts.kube, this.#redis);
    }
    this.#users?.start();
  }

  stats(): ReturnType<Provider['stats']> {
    return this.#users === undefined ? {} : { 'redis-users': this.#users.stats() };
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#redis?.stop();
    await this.#password?.stop();
    await this.#uids?.stop();
    await this.#users?.stop();
  }

  #makePassword(redis: DefaultRedis): PasswordSecret | undefined {
    const { kube, log } = this.#parts;
    const { passwordSecret: name } = redis.settings;
    if (kube === undefined || name === undefined) return undefined;
    const secret = new PasswordSecret({ kube, namespace: this.#settings.keySecret.namespace, name, log });
    secret.onChange((password) => {
      redis.setPassword(password);
    });
    return secret;
  }

  async #loadKey(kube: Kube, redis: DefaultRedis): Promise<void> {
    const { signal } = this.#stopping;
    const { namespace, name } = this.#settings.keySecret;
    while (!signal.aborted) {
      try {
        redis.setKey(await this.#readKey(kube));
        return;
      } catch (error) {
        const trouble = { secret: `${namespace}/${name}`, error: messageOf(error) };
        this.#parts.log.error('key of the redis users cannot be read', trouble);
        await pause(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Whoever is first makes it: of two at once the second finds that it is there. */
  async #readKey(kube: Kube): Promise<Buffer> {
    const { namespace, name } = this.#settings.keySecret;
    const read = async (): Promise<Buffer> => keyIn(await kube.get<Secret>(RESOURCES.secrets, namespace, name));
    try {
      return await read();
    } catch (error) {
      if (!hasStatus(error, 404)) throw error;
    }
    const labels = { 'app.kubernetes.io/part-of': 'weir' };
    const data = { [KEY]: randomBytes(KEY_BYTES).toString('base64') };
    const body = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace, labels }, type: 'Opaque', data };
    try {
      return keyIn(await kube.create<Secret>(RESOURCES.secrets, namespace, body));
    } catch (error) {
      if (!hasStatus(error, 409)) throw error;
      return await read();
    }
  }
}

function keyIn({ data = {}, metadata }: Secret): Buffer {
  const key = Buffer.from(data[KEY] ?? '', 'base64');
  if (key.length < KEY_BYTES)
    throw new Error(`Secret ${metadata.name} has no "${KEY}" of ${KEY_BYTES} bytes: delete it`);
  return key;
}
