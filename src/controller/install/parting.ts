// Controller: the operator is about to be uninstalled. Input: an annotation of the Lease, which `weir leave` writes,
// and the answers of limiters. Output: configs that limiters can keep without the Redis of this release, and an
// annotation once they have them.
import { setTimeout as delay } from 'node:timers/promises';
import { resourceName } from '../../contract/limiter-config.ts';
import { toVersioned, type VersionedResource } from '../../contract/snapshot.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { partingConfig } from '../../reconcile/compile/parting.ts';
import type { InForce } from '../../reconcile/types.ts';
import type { LeaseNotes } from '../election/leader-election.ts';
import type { AckTable } from '../push/ack-table.ts';

/** When the uninstall began, RFC 3339. */
export const LEAVING_ANNOTATION = 'weir.dev/leaving';
/** The same time, once limiters have what they need. */
export const LEFT_ANNOTATION = 'weir.dev/left';

/** An uninstall that did not happen is over after this long: the operator continues as before. */
const VALID_MS = 600_000;
const ACK_DEADLINE_MS = 10_000;
const LOOK_EVERY_MS = 100;

export interface PartingParts {
  readonly acks: Pick<AckTable, 'statesOf'>;
  /** Pushes every object again, by what `resourceOf` says now; resolves when that was sent. */
  readonly pushAll: () => Promise<void>;
  /** Whether limiters have had time to connect here. */
  readonly isServing: () => boolean;
  readonly log: Logger;
  readonly nowMs?: () => number;
}

export class Parting implements LeaseNotes {
  readonly #parts: PartingParts;
  /** What was pushed instead of the usual configs: name -> version. */
  readonly #pushed = new Map<string, string>();
  #since: string | undefined;
  /** The last change did not reach limiters: it is tried again. */
  #mustRetry = false;
  #done: string | undefined;
  #working: Promise<void> | undefined;

  constructor(parts: PartingParts) {
    this.#parts = parts;
  }

  /** While this holds no status is written: limiters do not have the configs that the statuses describe. */
  get isParting(): boolean {
    return this.#since !== undefined;
  }

  /** Annotations of the Lease as the leader read them; called at each renewal. */
  read(annotations: Readonly<Record<string, string>>): void {
    const asked = annotations[LEAVING_ANNOTATION];
    const isValid = asked !== undefined && (this.#parts.nowMs?.() ?? Date.now()) - Date.parse(asked) < VALID_MS;
    const since = isValid ? asked : undefined;
    if (since === this.#since && !this.#mustRetry) return;
    this.#since = since;
    this.#mustRetry = false;
    this.#working = (this.#working ?? Promise.resolve()).then(() => this.#change(since));
  }

  /** Annotations that the leader adds to the Lease. */
  wanted(): Readonly<Record<string, string>> {
    return this.#done === undefined ? {} : { [LEFT_ANNOTATION]: this.#done };
  }

  /** What limiters are to have of an object. */
  resourceOf({ config, resource }: InForce): VersionedResource {
    const name = resourceName(config);
    if (this.#since === undefined) return resource;
    const parting = partingConfig(config, this.#sharersOf(name));
    if (parting === config) return resource;
    const changed = toVersioned(name, parting);
    this.#pushed.set(name, changed.version);
    return changed;
  }

  async #change(since: string | undefined): Promise<void> {
    const { log, pushAll } = this.#parts;
    this.#done = undefined;
    this.#pushed.clear();
    if (since === undefined) log.warn('the uninstall did not happen: limiters get their previous configs again');
    else log.warn('this release is being uninstalled: limiters get configs without its Redis', { since });
    try {
      await pushAll();
      if (since === undefined) return;
      const silent = await this.#untilAcknowledged();
      log.info('limiters can continue without this release', { objects: this.#pushed.size, silent });
      this.#done = since;
    } catch (error) {
      this.#mustRetry = true;
      log.error('configs were not pushed', { error: messageOf(error) });
    }
  }

  /** @returns how many objects some connected limiter has not acknowledged in time */
  async #untilAcknowledged(): Promise<number> {
    const endMs = performance.now() + ACK_DEADLINE_MS;
    for (;;) {
      const silent = [...this.#pushed].filter(([name, version]) => !this.#isAcknowledged(name, version)).length;
      if ((silent === 0 && this.#parts.isServing()) || performance.now() > endMs) return silent;
      await delay(LOOK_EVERY_MS);
    }
  }

  #isAcknowledged(name: string, version: string): boolean {
    const connected = this.#parts.acks.statesOf(name).filter(({ limiter }) => limiter.connected);
    return connected.every(({ ackedVersion }) => ackedVersion === version);
  }

  /** The shared limiters go with the release, as far as they are its own; sidecars stay. */
  #sharersOf(name: string): number {
    const states = this.#parts.acks.statesOf(name);
    const sidecars = states.filter(({ limiter }) => limiter.view.kind === 'pod').length;
    return sidecars === 0 ? states.length : sidecars;
  }
}
