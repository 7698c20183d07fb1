// Controller: every credential that objects can need, by object. Input: Secrets that they name, and the default
// Redis. Output: one reader of both, so that the loop need not know where a password comes from.
import { DEFAULT_REDIS_SECRET } from '../../contract/names.ts';
import { parseResourceName } from '../../contract/limiter-config.ts';
import type { SecretFacts } from '../../reconcile/types.ts';
import type { DefaultRedis } from './default-redis.ts';
import type { NamespaceUids } from './namespace-uids.ts';
import type { SecretReader } from '../provider/provider.ts';
import { ReverseIndex } from '../kube/reverse-index.ts';

/** Adds the default Redis to the Secrets of a provider. */
export class Credentials implements SecretReader {
  readonly #secrets: SecretReader;
  readonly #redis: DefaultRedis;
  readonly #uids: NamespaceUids | undefined;
  /** Objects -> their namespace. */
  readonly #objects = new ReverseIndex();
  readonly #listeners: ((objects: Iterable<string>) => void)[] = [];

  /** `uids`: absent where namespaces have no users of their own. */
  constructor(secrets: SecretReader, redis: DefaultRedis, uids?: NamespaceUids) {
    this.#secrets = secrets;
    this.#redis = redis;
    this.#uids = uids;
    redis.onChange(() => {
      for (const namespace of this.#objects.keys()) this.#tell(namespace);
    });
    uids?.onChange((namespace) => {
      this.#tell(namespace);
    });
  }

  /** Namespaces that have objects. */
  namespaces(): string[] {
    return [...this.#objects.keys()];
  }

  want(object: string, secrets: readonly string[]): void {
    this.#secrets.want(object, secrets);
    const namespace = namespaceOf(object);
    this.#objects.set(object, [namespace]);
    this.#uids?.want(namespace);
  }

  forget(object: string): void {
    this.#secrets.forget(object);
    const namespace = namespaceOf(object);
    this.#objects.set(object, []);
    if (this.#objects.namesOf(namespace).size === 0) this.#uids?.forget(namespace);
  }

  factsOf(namespace: string, name: string): SecretFacts {
    if (name !== DEFAULT_REDIS_SECRET) return this.#secrets.factsOf(namespace, name);
    return this.#redis.factsOf(namespace, this.#uids?.uidOf(namespace));
  }

  isKnown(object: string): boolean {
    return this.#secrets.isKnown(object) && this.factsOf(namespaceOf(object), DEFAULT_REDIS_SECRET).state !== 'unknown';
  }

  async whenKnown(): Promise<void> {
    await Promise.all([this.#secrets.whenKnown(), this.#uids?.whenKnown()]);
  }

  onChange(listener: (objects: Iterable<string>) => void): void {
    this.#secrets.onChange(listener);
    this.#listeners.push(listener);
  }

  #tell(namespace: string): void {
    for (const listener of this.#listeners) listener(this.#objects.namesOf(namespace));
  }
}

function namespaceOf(object: string): string {
  return parseResourceName(object)?.namespace ?? '';
}
