// Limiter, between config source and requests: changes -> the runtime set in effect, and per resource accepted or the
// text of the NACK. A rejected update leaves the last good version in effect.
import { ownCapabilities } from '../../contract/capabilities.ts';
import {
  FLEET_RESOURCE_NAME,
  isSharersName,
  nameOfResource,
  type FleetConfig,
  type Resource,
} from '../../contract/limiter-config.ts';
import { PersistentMap } from '../../lib/persistent-map.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { ConfigChange, ConfigOutcome, VersionedConfig } from './config-source.ts';
import { compileEgress, type EgressPolicy } from '../egress/egress.ts';
import type { RouteOptions } from '../route/route-index.ts';
import type { RuntimeObject } from '../compile/runtime-object.ts';
import { compileRuntime } from '../compile/runtime.ts';
import { RuntimeSet } from '../compile/runtime-set.ts';

/** What the limiter is told once about itself. */
export interface ApplierOptions {
  readonly route: RouteOptions;
  readonly withoutCapabilities: readonly string[];
  /** Beside what the Fleet resource allows. */
  readonly egressAllow: readonly string[];
}

/** Everything in effect, swapped as one. */
export interface RuntimeInForce {
  readonly set: RuntimeSet;
  readonly fleet: FleetConfig;
  /** Resource name of each SharersConfig -> how many limiters it tells of. */
  readonly sharers: PersistentMap<number>;
  readonly egress: EgressPolicy;
  /** Rises when `egress` changes. */
  readonly egressGeneration: number;
}

/** Told after each change that was applied. */
export type OnApplied = (inForce: RuntimeInForce, applied: AppliedChange) => void;

/** What a change did. */
export interface AppliedChange {
  readonly compiled: readonly RuntimeObject[];
  readonly removals: readonly string[];
  readonly outcomes: readonly ConfigOutcome[];
  /** true: the rest of a large snapshot follows at once. */
  readonly isPartial: boolean;
}

/** Holds what is in effect and applies changes to it. */
export class ConfigApplier {
  readonly #options: ApplierOptions;
  readonly #own: ReadonlySet<string>;
  readonly #onApplied: OnApplied;
  readonly #versions = new Map<string, string>();
  #inForce: RuntimeInForce;

  constructor(options: ApplierOptions, onApplied: OnApplied) {
    this.#options = options;
    this.#own = ownCapabilities(options.withoutCapabilities);
    this.#onApplied = onApplied;
    const fleet = this.#withOwnEgress({ kind: 'Fleet', knownLimiters: 1, egressAllow: [] });
    this.#inForce = {
      set: RuntimeSet.empty(options.route),
      fleet,
      sharers: PersistentMap.empty(),
      egress: compileEgress(fleet.egressAllow, fleet.clusterDomain),
      egressGeneration: 0,
    };
  }

  get inForce(): RuntimeInForce {
    return this.#inForce;
  }

  /** The version in effect of the Fleet and of each object, by resource name. */
  versions(): ReadonlyMap<string, string> {
    return this.#versions;
  }

  /**
   * Applies a change as one step; never throws. Fleet comes first, also in the answers: it says what may be dialled.
   */
  apply(change: ConfigChange): readonly ConfigOutcome[] {
    const fleets = change.updates.filter(({ name }) => name === FLEET_RESOURCE_NAME);
    const sharers = change.updates.filter(({ name }) => isSharersName(name));
    const objects = change.updates.filter(({ name }) => name !== FLEET_RESOURCE_NAME && !isSharersName(name));
    let next = this.#inForce;
    let counts = next.sharers;
    for (const name of change.removals) if (isSharersName(name)) counts = counts.with(name, undefined);
    const compiled: RuntimeObject[] = [];
    const outcomes = [
      ...attempt(fleets, ({ resource }) => {
        next = this.#withFleet(resource);
      }),
      ...attempt(sharers, ({ name, resource }) => {
        counts = counts.with(name, checkedSharers(name, resource));
      }),
      ...attempt(objects, (update) => {
        compiled.push(this.#compile(update, next.fleet));
      }),
    ];
    this.#inForce = { ...next, set: next.set.withChanges(compiled, change.removals), sharers: counts };
    for (const name of change.removals) this.#versions.delete(name);
    for (const { name, version, accepted } of outcomes) {
      if (accepted && !isSharersName(name)) this.#versions.set(name, version);
    }
    this.#onApplied(this.#inForce, {
      compiled,
      removals: change.removals,
      outcomes,
      isPartial: change.isPartial === true,
    });
    return outcomes;
  }

  #compile({ name, resource, secrets }: VersionedConfig, fleet: FleetConfig): RuntimeObject {
    if (resource.kind === 'Fleet' || resource.kind === 'Sharers' || nameOfResource(resource) !== name) {
      throw new Error(`the resource ${name} holds another object`);
    }
    return compileRuntime(resource, this.#own, fleet, this.#options.route.mode, secrets);
  }

  #withFleet(resource: Resource): RuntimeInForce {
    const fleet = this.#withOwnEgress(checkedFleet(resource));
    if (egressText(fleet) === egressText(this.#inForce.fleet)) return { ...this.#inForce, fleet };
    return {
      ...this.#inForce,
      fleet,
      egress: compileEgress(fleet.egressAllow, fleet.clusterDomain),
      egressGeneration: this.#inForce.egressGeneration + 1,
    };
  }

  #withOwnEgress(fleet: FleetConfig): FleetConfig {
    return { ...fleet, egressAllow: [...fleet.egressAllow, ...this.#options.egressAllow] };
  }
}

function egressText({ egressAllow, clusterDomain }: FleetConfig): string {
  return [clusterDomain ?? '', ...egressAllow].join('\n');
}

/** Tries each update: what it throws is the text of the NACK. */
function attempt(
  updates: readonly VersionedConfig[],
  apply: (update: VersionedConfig) => void,
): readonly ConfigOutcome[] {
  return updates.map((update) => {
    const { name, version } = update;
    try {
      apply(update);
      return { name, version, accepted: true };
    } catch (error) {
      return { name, version, accepted: false, message: messageOf(error) };
    }
  });
}

/** @throws Error naming the field, or that it is no Fleet at all */
function checkedFleet(resource: Resource): FleetConfig {
  if (resource.kind !== 'Fleet') throw new Error(`${FLEET_RESOURCE_NAME} holds another object`);
  const { knownLimiters, sharedLimiters = 0, egressAllow } = resource;
  if (!Number.isSafeInteger(knownLimiters) || knownLimiters < 1) throw new Error('knownLimiters must be at least 1');
  if (!Number.isSafeInteger(sharedLimiters) || sharedLimiters < 0) throw new Error('sharedLimiters must be at least 0');
  if (!Array.isArray(egressAllow)) throw new Error('egressAllow must be a list');
  return resource;
}

/** @throws Error naming the field, or that it is no Sharers at all */
function checkedSharers(name: string, resource: Resource): number {
  if (resource.kind !== 'Sharers' || nameOfResource(resource) !== name) throw new Error(`${name} holds another object`);
  const { limiters } = resource;
  if (!Number.isSafeInteger(limiters) || limiters < 0) throw new Error('limiters must be at least 0');
  return limiters;
}
