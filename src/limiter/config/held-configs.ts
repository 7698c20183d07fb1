// Limiter: what this limiter has in force, by resource name. In: responses of the operator and a snapshot from disk;
// out: changes applied to the runtime, what it refused, and what is to be kept on disk.
import { nameOfResource, type Resource } from '../../contract/limiter-config.ts';
import {
  loadPushProtocol,
  PARTIAL_RESPONSE,
  type DeltaDiscoveryResponse,
  type Rejection,
} from '../../contract/push-protocol.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { ApplyConfigs, ConfigOutcome, VersionedConfig } from './config-source.ts';
import type { KeptResource } from './snapshot-file.ts';

/** What became of a change. */
export interface TakenChange {
  readonly accepted: number;
  readonly rejections: readonly Rejection[];
}

/** Mirrors what the runtime accepted: a rejected version leaves the last good one of its name. */
export class HeldConfigs {
  readonly #apply: ApplyConfigs;
  readonly #log: Logger;
  readonly #held = new Map<string, KeptResource>();
  #takesReports = false;

  constructor(apply: ApplyConfigs, log: Logger) {
    this.#apply = apply;
    this.#log = log;
  }

  /** Name -> version: what the operator need not send again. */
  versions(): Record<string, string> {
    return Object.fromEntries([...this.#held].map(([name, { version }]) => [name, version]));
  }

  /** Whether the operator that these came from takes reports. */
  get takesReports(): boolean {
    return this.#takesReports;
  }

  /** What is in force, to be kept on disk. */
  kept(): readonly KeptResource[] {
    return [...this.#held.values()];
  }

  /** Applies a snapshot from disk. What the runtime does not take any more is asked for again. */
  restore(kept: readonly KeptResource[]): TakenChange {
    return this.#change(kept, [], [], false);
  }

  /** Applies a response: its good resources are in force afterwards, its bad ones are named. */
  take(response: DeltaDiscoveryResponse): TakenChange {
    const { decode } = loadPushProtocol();
    const received: KeptResource[] = [];
    const unreadable: Rejection[] = [];
    for (const resource of response.resources) {
      const { name, version } = resource;
      try {
        const { bytes, secrets } = decode(resource);
        const values = secrets.size === 0 ? {} : { secrets: [...secrets] };
        received.push({ name, version, json: bytes.toString('utf8'), ...values });
      } catch (error) {
        unreadable.push({ name, version, message: messageOf(error) });
      }
    }
    const isPartial = response.system_version_info === PARTIAL_RESPONSE;
    return this.#change(received, response.removed_resources, unreadable, isPartial);
  }

  #change(
    received: readonly KeptResource[],
    removals: readonly string[],
    unreadable: readonly Rejection[],
    isPartial: boolean,
  ): TakenChange {
    const rejections = [...unreadable];
    const updates: VersionedConfig[] = [];
    for (const { name, version, json, secrets } of received) {
      const resource = parseResource(name, json);
      const values = secrets === undefined ? {} : { secrets: new Map(secrets) };
      if (typeof resource === 'string') rejections.push({ name, version, message: resource });
      else updates.push({ name, version, resource, ...values });
    }
    for (const { name, version, message } of rejections) {
      this.#log.warn('config cannot be read', { name, version, reason: message });
    }
    const byName = new Map(received.map((resource) => [resource.name, resource]));
    const outcomes = this.#outcomesOf(updates, removals, isPartial);
    for (const outcome of outcomes) {
      const resource = byName.get(outcome.name);
      if (!outcome.accepted)
        rejections.push({ name: outcome.name, version: outcome.version, message: outcome.message });
      else if (resource !== undefined) this.#held.set(outcome.name, resource);
    }
    for (const name of removals) this.#held.delete(name);
    this.#noteFleet(updates);
    return { accepted: outcomes.filter(({ accepted }) => accepted).length, rejections };
  }

  #noteFleet(updates: readonly VersionedConfig[]): void {
    for (const { resource } of updates) {
      if (resource.kind === 'Fleet') this.#takesReports = resource.takesReports === true;
    }
  }

  /** The runtime promises not to throw; if it does, nothing of the change counts as in force. */
  #outcomesOf(
    updates: readonly VersionedConfig[],
    removals: readonly string[],
    isPartial: boolean,
  ): readonly ConfigOutcome[] {
    try {
      return this.#apply({ updates, removals, ...(isPartial ? { isPartial } : {}) });
    } catch (error) {
      const message = `this limiter failed to apply the config: ${messageOf(error)}`;
      return updates.map(({ name, version }) => ({ name, version, accepted: false, message }));
    }
  }
}

/** A resource whose text and name fit together; a string says why it cannot be used. No part of the text is in it. */
function parseResource(name: string, json: string): Resource | string {
  let resource: Resource | null;
  try {
    resource = JSON.parse(json) as Resource | null;
  } catch {
    return 'the config is not JSON';
  }
  if (typeof resource !== 'object' || resource === null) return 'the config is not a JSON object';
  const ownName = nameOfResource(resource);
  return ownName === name ? resource : `the config is of ${ownName.slice(0, 300)}, not of ${name}`;
}
