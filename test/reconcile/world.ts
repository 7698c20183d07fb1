// A world for reconcile that a test writes down as data.
import { given } from '../../src/reconcile/optional.ts';
import { skipText } from '../../src/reconcile/injection/skips.ts';
import type {
  LimiterTally,
  ReconcileSettings,
  Rival,
  SecretFacts,
  ServiceFacts,
  World,
} from '../../src/reconcile/types.ts';

const NOT_SEEN = { reason: 'NotSeen', message: skipText({ reason: 'NotSeen' }, 'serving') } as const;
export const NOW = '2026-06-01T12:00:00Z';

/** The limiters of one object. A synced one has acknowledged whatever is in force. */
export interface Fleet {
  readonly limiters?: readonly {
    readonly name: string;
    readonly state: 'synced' | 'pending' | 'rejected';
    readonly message?: string;
  }[];
  readonly pods?: {
    readonly matching: number;
    readonly unlimited?: readonly (string | Omit<LimiterTally['unlimited'][number], 'isEnding'>)[];
    /** Those of them that are terminating. */
    readonly ending?: readonly string[];
    readonly notRunning?: LimiterTally['notRunning'];
    readonly finished?: readonly string[];
  };
  readonly troubles?: LimiterTally['troubles'];
  readonly unclaimed?: readonly string[];
  readonly bypasses?: LimiterTally['bypasses'];
  readonly bypassedPods?: LimiterTally['bypassedPods'];
  readonly creationFailure?: LimiterTally['creationFailure'];
  /** Limiters that are connected; absent: all. */
  readonly connected?: number;
}

interface Surroundings {
  readonly fleet?: Fleet;
  readonly rivals?: { rivalsOf(keys: readonly string[]): readonly Rival[] };
  /** By `namespace/name`. */
  readonly services?: Readonly<Record<string, ServiceFacts>>;
  /** By `namespace/name`; those that are not named are missing. */
  readonly secrets?: Readonly<Record<string, SecretAsWritten>>;
}

/** A Secret as a test writes it down: its state, and its values by key. */
export interface SecretAsWritten {
  readonly state?: SecretFacts['state'];
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** What it has now. */
  readonly data?: Readonly<Record<string, string>>;
  /** What it had and is still handed out. */
  readonly kept?: Readonly<Record<string, string>>;
}

function factsOf(secret: SecretAsWritten = { state: 'missing' }): SecretFacts {
  const { state = 'found', uid = 'secret-uid', resourceVersion = '1', data = {}, kept = {} } = secret;
  const values = Object.entries({ ...kept, ...data }).map(
    ([key, value]) => [key, { uid, resourceVersion, value }] as const,
  );
  return { state, keys: new Set(Object.keys(data)), values: new Map(values) };
}

export function worldOf(
  settings: ReconcileSettings,
  { fleet = {}, rivals, services = {}, secrets = {} }: Surroundings = {},
): World {
  return {
    settings,
    serviceOf: (namespace, name) => services[`${namespace}/${name}`],
    secretOf: (namespace, name) => factsOf(secrets[`${namespace}/${name}`]),
    rivalsOf: (keys) => rivals?.rivalsOf(keys) ?? [],
    limitersOf: ({ version, workloadSelector }) =>
      tally(fleet, version !== undefined, workloadSelector !== undefined ? (fleet.pods?.matching ?? 0) : 0),
  };
}

function reportedBy({ troubles = [], unclaimed = [], bypasses = [], bypassedPods = [] }: Fleet) {
  return { troubles, unclaimed, bypasses, bypassedPods };
}

function tally(fleet: Fleet, isInForce: boolean, matchingPods: number): LimiterTally {
  const { limiters = [], creationFailure } = fleet;
  const { unlimited = [], ending = [], notRunning = [] } = fleet.pods ?? {};
  const inState = (state: string) => (isInForce ? limiters.filter((limiter) => limiter.state === state) : []);
  return {
    desired: limiters.length,
    synced: inState('synced').length,
    rejected: inState('rejected').map(({ name, message }) => ({ limiter: name, message: message ?? '' })),
    matchingPods,
    finishedPods: fleet.pods?.finished ?? [],
    unlimited: unlimited.map((each) => {
      const pod = typeof each === 'string' ? { pod: each, ...NOT_SEEN } : each;
      return { ...pod, isEnding: ending.includes(pod.pod) };
    }),
    notRunning,
    silent: limiters
      .filter(({ name, state }) => state !== 'synced' && !notRunning.some(({ pod }) => pod === name))
      .map(({ name }) => name),
    ...reportedBy(fleet),
    ...given('creationFailure', creationFailure),
    connected: fleet.connected ?? limiters.length,
  };
}
