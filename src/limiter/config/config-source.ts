// Limiter, where configs come from: the interface between a source (xDS, a test, standalone) and the runtime that
// applies them. In: resources with versions; out: per resource accepted, or why not.
import type { Resource, SecretValues } from '../../contract/limiter-config.ts';
import type { LimiterReport } from '../../contract/limiter-report.ts';

/** A resource as a source hands it over: parsed, not yet validated. `version` is opaque. */
export interface VersionedConfig {
  /** `<kind>/<namespace>/<name>` or `Fleet/-/-`. */
  readonly name: string;
  readonly version: string;
  readonly resource: Resource;
  /** What the resource names and does not hold. */
  readonly secrets?: SecretValues;
}

/** What changed, as one step: either all good parts of it are in effect or none (requests see one snapshot). */
export interface ConfigChange {
  readonly updates: readonly VersionedConfig[];
  /** Resource names; one that is not there is no error. */
  readonly removals: readonly string[];
  /**
   * true: the rest of a large snapshot follows at once; a limiter that never had one is not configured by this part.
   */
  readonly isPartial?: boolean;
}

/** What became of one update. A rejected one leaves the last good version of its resource in effect. */
export type ConfigOutcome =
  | { readonly name: string; readonly version: string; readonly accepted: true }
  /** `message` is the text of the NACK: it names the field or the missing capabilities. */
  | { readonly name: string; readonly version: string; readonly accepted: false; readonly message: string };

/**
 * Applies a change and answers per update, Fleet first. Never throws. The first call makes the limiter configured, also
 * when it carries nothing: so a source calls it with what it read from disk, and with the operator's first answer, but
 * not before it has either.
 */
export type ApplyConfigs = (change: ConfigChange) => readonly ConfigOutcome[];

/** A source of configs. */
export interface ConfigSource {
  /**
   * Starts feeding `apply`. Resolves when what is already at hand (a snapshot on disk) was applied and the source keeps
   * trying on its own from there; an operator that is away is not an error.
   */
  start(apply: ApplyConfigs): Promise<void>;
  /** What this limiter has trouble with: told now and after each reconnect, to an operator that takes reports. */
  report?(report: LimiterReport): void;
  /** Stops for good; `apply` is not called after it resolves. */
  close(): Promise<void>;
}

/** A source that holds what it is given: for standalone use and for tests. */
export class StaticConfigSource implements ConfigSource {
  #apply: ApplyConfigs | undefined;
  #held = new Map<string, VersionedConfig>();

  constructor(initial: readonly VersionedConfig[] = []) {
    for (const update of initial) this.#held.set(update.name, update);
  }

  start(apply: ApplyConfigs): Promise<void> {
    this.#apply = apply;
    apply({ updates: [...this.#held.values()], removals: [] });
    return Promise.resolve();
  }

  /** Hands a change on at once; before `start` it is kept and answered as nothing yet. */
  push(change: ConfigChange): readonly ConfigOutcome[] {
    for (const name of change.removals) this.#held.delete(name);
    for (const update of change.updates) this.#held.set(update.name, update);
    return this.#apply?.(change) ?? [];
  }

  close(): Promise<void> {
    this.#apply = undefined;
    return Promise.resolve();
  }
}
