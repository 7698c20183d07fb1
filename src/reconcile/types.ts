// Reconcile: the words of the stage. Input: an object and what the controller knows around it. Output: the config that
// must be in force, and the status that tells the truth about it.
import type { LimiterConfig, ObjectKind, ObjectRef, StoreConfig } from '../contract/limiter-config.ts';
import type { Condition, LimitStatus, WorkloadSelector } from '../crd/types.ts';
import type { Problem } from './problems.ts';
import type { SkipReason } from './injection/skips.ts';
import type { VersionedResource } from '../contract/snapshot.ts';

/** An object as the API server (or a file) gave it. `spec` is believed only after it was checked. */
export interface ObjectAsRead {
  readonly kind: ObjectKind;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly generation?: number;
    /** RFC 3339; absent = younger than everything that has one. */
    readonly creationTimestamp?: string;
  };
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** The last form of an object that was in force: its spec as read, so it holds no secret and survives an upgrade. */
export interface LastGood {
  readonly generation: number;
  readonly spec: unknown;
}

/** What the operator was told at its start. */
export interface ReconcileSettings {
  /** Where the buckets of objects without `rateLimiting.redis` live; absent: scope Shared needs `redis`. */
  readonly defaultStore?: StoreConfig;
  /** Namespaces whose sidecars may use it, beside all shared limiters; absent: those of every namespace. */
  readonly defaultStoreSidecars?: readonly string[];
  /** true: each namespace has a user of its own there, confined to its keys. */
  readonly defaultStoreUsers?: boolean;
  /** How people run `weir` here, for messages with a command to paste; absent: `weir`. */
  readonly weirCommand?: string;
  /** `cluster.local`; absent: Service names end in `.svc` and the limiter's resolver completes them. */
  readonly clusterDomain?: string;
}

/** What a Service offers. */
export interface ServiceFacts {
  /** ClusterIP, NodePort, LoadBalancer, ExternalName. */
  readonly type: string;
  readonly ports: readonly { readonly name?: string; readonly port: number }[];
}

/** A value of a Secret, and the state of the Secret that it was read from. */
export interface SecretValue {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly value: string;
}

/** What is known of a Secret. */
export interface SecretFacts {
  /**
   * unlabelled: it lacks the label that gives it free. unknown: no answer yet. absent: this operator has no Secrets
   * at all.
   */
  readonly state: 'found' | 'missing' | 'forbidden' | 'unlabelled' | 'unknown' | 'absent';
  /** Keys that it has now, each with something in it; empty unless `found`. */
  readonly keys: ReadonlySet<string>;
  /**
   * What may be handed out: also the last values of a Secret or a key that is gone, never those of an unlabelled one.
   */
  readonly values: ReadonlyMap<string, SecretValue>;
  /** forbidden: the account that lacks the right, `<namespace>/<name>`, when it is not the usual one. */
  readonly account?: string;
}

/** The requests that a form takes, and where. Two forms can conflict only when they share a key. */
export interface RequestClaim {
  readonly namespace: string;
  /** Keys of what it takes on shared limiters. */
  readonly shared: readonly string[];
  /** Keys of what it takes on sidecars; empty without a selector. */
  readonly sidecar: readonly string[];
  /** Absent: shared limiters only. */
  readonly workloadSelector?: WorkloadSelector;
}

/** A form that schema and CEL admit is compiled, even when it must not be in force. */
export interface Form {
  readonly generation: number;
  /** The spec as it was read. */
  readonly spec: unknown;
  /** Empty: only a conflict can keep it from being in force. */
  readonly problems: readonly Problem[];
  readonly config?: LimiterConfig;
  /** Present with `config`: the config as it is pushed when it names no Secrets. */
  readonly resource?: VersionedResource;
  /** Present with `config`. */
  readonly claim?: RequestClaim;
  readonly workloadSelector?: WorkloadSelector;
  /** Present: it was in force before, whatever the present spec is. */
  readonly isKept?: true;
}

/** The forms of an object that may be in force, in order of preference: the present one, then the last good one. */
export type Forms = readonly [present: Form, ...kept: Form[]];

/** An object that could conflict with the one at hand. */
export interface Rival {
  readonly object: ObjectAsRead;
  readonly forms: Forms;
}

/** Which limiters are meant: those of the pods that the selector matches, and every shared limiter of the namespace. */
export interface LimiterQuery {
  readonly ref: ObjectRef;
  /** Absent: shared limiters only. */
  readonly workloadSelector?: WorkloadSelector;
  /** The version that counts as synced; absent: nothing is in force, so nothing is synced. */
  readonly version?: string;
  /** Where the buckets of what is in force live (`storeIdOf`); absent: nowhere that can be away. */
  readonly store?: string;
}

/** One limiter's trouble with the store or with an upstream of one object. */
export interface LimiterTrouble {
  readonly limiter: string;
  readonly kind: 'unreachable' | 'evicts' | 'upstream';
  /** The upstream's origin; absent for the store. */
  readonly upstream?: string;
  readonly detail: string;
}

/** A selected pod that carries no limiter. */
export interface UnlimitedPod {
  readonly pod: string;
  readonly isEnding: boolean;
  /** Why, in one word. */
  readonly reason: SkipReason;
  /** Why, and how to mend it. */
  readonly message: string;
}

/** A way by which calls of pods go past their limiters. */
export interface Bypass {
  /**
   * HeadlessService: its callers dial the pods themselves. EndpointSlice: one that no selector makes. HostPort: a
   * port of the node.
   */
  readonly via: 'Service' | 'HeadlessService' | 'EndpointSlice' | 'HostPort';
  /** Of the Service, or of the slice when it is of none; '' for a HostPort. */
  readonly name: string;
  /** The Service's, the slice's or the node's. */
  readonly port: number;
  /** The pods'. */
  readonly target: number;
  /** The port that their limiters stand before; another than `target`: the way leads to a port without a limiter. */
  readonly guarded: number;
  /** By which a Service reaches the limiter. */
  readonly portName?: string;
  /** How many of the object's. */
  readonly pods: number;
}

/** What the limiters of one object say, seen against one version. */
export interface LimiterTally {
  /** Limiters that should have the object: selected pods with a limiter that are not terminating + shared ones. */
  readonly desired: number;
  /** Connected ones whose acknowledged version is the one asked for. */
  readonly synced: number;
  /** Those whose last word on exactly the version asked for is a NACK, with their own words. */
  readonly rejected: readonly { readonly limiter: string; readonly message: string }[];
  /** Pods that the selector matches and that are not terminating, with or without a limiter; 0 without a selector. */
  readonly matchingPods: number;
  /** Names of the pods that the selector matches and that have ended, as those of a Job do; sorted. */
  readonly finishedPods: readonly string[];
  /**
   * The pods that the selector matches and that carry no limiter, the terminating ones too: they may still answer. By
   * name.
   */
  readonly unlimited: readonly UnlimitedPod[];
  /** Why what would make selected pods cannot; absent: it can, as far as is known. */
  readonly creationFailure?: { readonly maker: string; readonly words: string };
  /** Injected pods whose limiter container does not run, and why in the kubelet's word. */
  readonly notRunning: readonly { readonly pod: string; readonly reason: string }[];
  /** The others of the desired ones that are not synced: names of pods, and of shared limiters, sorted. */
  readonly silent: readonly string[];
  /** What desired limiters have trouble with, as far as it concerns this object. */
  readonly troubles: readonly LimiterTrouble[];
  /** Models that callers of the object's pods name and no route claims, sorted; any text. */
  readonly unclaimed?: readonly string[];
  /** Ways that lead past the limiters of the object's pods, the terminating ones too. */
  readonly bypasses: readonly Bypass[];
  /** Names of the pods with a limiter that all known traffic passes by, sorted. */
  readonly bypassedPods: readonly string[];
  /** Desired limiters that are connected. */
  readonly connected: number;
}

/** The world around an object, as pure look-ups: two calls with one argument give one answer. */
export interface World {
  readonly settings: ReconcileSettings;
  /** undefined: there is no such Service. */
  serviceOf(namespace: string, name: string): ServiceFacts | undefined;
  secretOf(namespace: string, name: string): SecretFacts;
  /** Objects that have at least one of these keys (see `RequestClaim`); the object itself may be among them. */
  rivalsOf(keys: readonly string[]): readonly Rival[];
  limitersOf(query: LimiterQuery): LimiterTally;
}

export interface ReconcileInput {
  readonly object: ObjectAsRead;
  readonly lastGood?: LastGood;
  readonly world: World;
  /** RFC 3339: the time of a change of a condition. */
  readonly now: string;
}

/** The whole `status` of an object. */
export interface ObjectStatus {
  readonly observedGeneration: number;
  /** The version of the config that must be in force; absent: none. */
  readonly configVersion?: string;
  readonly limitCount: number;
  readonly toolCount: number;
  readonly limiters: {
    readonly desired: number;
    readonly synced: number;
    readonly rejected: number;
    /** `synced/desired`. */
    readonly summary: string;
  };
  readonly limits: readonly LimitStatus[];
  /** `names` has the first ten. */
  readonly unlimitedPods: { readonly count: number; readonly names: readonly string[] };
  readonly conditions: readonly Condition[];
}

/** What must be in force for an object. */
export interface InForce {
  readonly config: LimiterConfig;
  /** The config as it is pushed; its `version` is the status's `configVersion`. */
  readonly resource: VersionedResource;
  /** The generation of the object that this is the form of. */
  readonly generation: number;
  /** The pods whose sidecars get it, beside the shared limiters; absent: shared limiters only. */
  readonly workloadSelector?: WorkloadSelector;
  /** true: the present generation is refused and an earlier one goes on. */
  readonly isLastGood: boolean;
}

export interface ReconcileOutcome {
  /** Absent: limiters must not have the object. */
  readonly inForce?: InForce;
  readonly status: ObjectStatus;
  /** What the limiters said. */
  readonly tally: LimiterTally;
  /** false: the status that the object carries says the same already; write nothing. */
  readonly statusChanged: boolean;
  /** What to keep for a restart: the present form when it is in force, else what was kept before. */
  readonly lastGood?: LastGood;
  /** Conditions whose reason differs from what the object's status says: one Event each. */
  readonly changedReasons: readonly Condition[];
}
