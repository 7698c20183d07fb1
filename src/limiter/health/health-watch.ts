// Limiter: what this limiter has trouble with, looked at once a second whether there is traffic or not. In: its
// stores and what is known of its upstreams; out: a report whenever it differs from the one before.
import { type LimiterReport, NO_TROUBLE } from '../../contract/limiter-report.ts';
import { canonicalJson } from '../../contract/snapshot.ts';
import { StoreHealth } from '../store/store-health.ts';
import type { Store } from '../store/store.ts';
import type { UnclaimedModels } from './unclaimed-models.ts';
import type { UpstreamHealth } from './upstream-health.ts';

export const EXAMINE_EVERY_MS = 1_000;

export interface HealthWatchParts {
  /** By {@link storeIdOf}: the stores that configs in effect name. */
  readonly stores: () => ReadonlyMap<string, Store>;
  readonly upstreams: UpstreamHealth;
  readonly unclaimed: UnclaimedModels;
  readonly nowMs: () => number;
  readonly onReport: (report: LimiterReport) => void;
  /** Told after each look: ids of the stores that serve. */
  readonly onLooked?: (serving: ReadonlySet<string>) => void;
}

export class HealthWatch {
  readonly #parts: HealthWatchParts;
  readonly #healths = new Map<string, StoreHealth>();
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #last = canonicalJson(NO_TROUBLE);

  constructor(parts: HealthWatchParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), EXAMINE_EVERY_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** One look at everything; each examination has a deadline of its own. Never rejects. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const stores = this.#parts.stores();
    for (const id of this.#healths.keys()) if (!stores.has(id)) this.#healths.delete(id);
    const serving = await Promise.all([...stores].map(([id, store]) => this.#examine(id, store)));
    this.#isLooking = false;
    this.#tell();
    this.#parts.onLooked?.(new Set(serving.flat()));
  }

  /** @returns its id when it serves. */
  async #examine(id: string, store: Store): Promise<readonly string[]> {
    const examination = await store.examine?.();
    if (examination === undefined) return [];
    const health = this.#healths.get(id) ?? new StoreHealth(id);
    this.#healths.set(id, health);
    health.note(examination);
    return examination.reachable ? [id] : [];
  }

  #tell(): void {
    const { upstreams, unclaimed, nowMs, onReport } = this.#parts;
    const models = unclaimed.names(nowMs());
    const stores = [...this.#healths.keys()].sort().flatMap((id) => this.#healths.get(id)?.trouble ?? []);
    const report: LimiterReport = {
      stores,
      upstreams: upstreams.troubles(nowMs()),
      ...(models.length === 0 ? {} : { unclaimed: models }),
    };
    const text = canonicalJson(report);
    if (text === this.#last) return;
    this.#last = text;
    onReport(report);
  }
}
