// Controller: certificates in a Secret of the operator's own namespace. Input: the Secret as it is watched, the
// lease, the time. Output: the certificate that every replica serves; the holder of the lease makes, rotates and
// repairs it.
import type { Logger } from '../../lib/log.ts';
import { issueLeaf, makeAuthority, endOf, nameMissingIn } from './certificate-authority.ts';
import {
  planRotation,
  takeStep,
  type Maker,
  type RotationPolicy,
  type Situation,
  type Step,
} from './certificate-plan.ts';
import { CertificateHolder, type CertificateSource, type ServedCertificate } from './certificate-source.ts';
import {
  CertificateDataError,
  readCertificates,
  servedIn,
  writeCertificates,
  type Authority,
  type KeptState,
  type Leaf,
} from './certificate-state.ts';
import { Informer } from '../kube/informer.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { RESOURCES, type KubeObject, type Secret } from '../kube/kube-types.ts';
import type { Leadership } from '../election/leadership.ts';
import { PART_OF_WEIR } from '../kube/own-labels.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

export interface CertificateSecretSettings {
  readonly kube: Kube;
  /** The same, but it writes only while the lease is held. */
  readonly leaderKube: Kube;
  readonly namespace: string;
  readonly name: string;
  /** What the leaf must be valid for. */
  readonly names: readonly string[];
  readonly policy: RotationPolicy;
  readonly leadership: Leadership;
  /** Whether everyone who must trust the present bundle is handed it. */
  readonly isDistributed: () => boolean;
  readonly log: Logger;
}

/** `leaf` or `ca`: that is to be rotated now, whatever its age. */
export const ROTATE_ANNOTATION = 'weir.dev/rotate';

const KEY = 'certificates';
/** After a write that lost against another one; the watch brings what won. */
const CONFLICT_MS = 200;

export class SecretCertificates implements CertificateSource {
  /** What is wrong with the Secret now. */
  fault: string | undefined;
  readonly #settings: CertificateSecretSettings;
  readonly #holder = new CertificateHolder();
  readonly #informer: Informer<Secret>;
  readonly #queue: WorkQueue;
  readonly #found = Promise.withResolvers<undefined>();
  readonly #lookAgainMs: number;
  /** The last that could be read: a Secret that was deleted is made again with it. */
  #state: KeptState | undefined;

  constructor(settings: CertificateSecretSettings) {
    this.#settings = settings;
    const { kube, namespace, name, policy, leadership, log } = settings;
    this.#lookAgainMs = Math.min(60_000, Math.max(250, Math.min(policy.leafLifeMs, policy.caLifeMs / 3) / 30));
    this.#informer = new Informer({
      kube,
      type: RESOURCES.secrets,
      namespaces: [namespace],
      fieldSelector: `metadata.name=${name}`,
      trim: withoutManagers,
      log,
    });
    this.#queue = new WorkQueue({ name: 'certificates', workers: 1, log, work: () => this.#work() });
    this.#informer.onChange(({ after }) => {
      if (after !== undefined) this.#take(after);
      this.#queue.add(KEY);
    });
    leadership.onChange(() => {
      this.look();
    });
  }

  current(): ServedCertificate {
    return this.#holder.current();
  }

  onChange(listener: () => void): () => void {
    return this.#holder.onChange(listener);
  }

  /** Resolves when there is a certificate; a Secret that cannot be used is waited for. */
  async start(): Promise<void> {
    this.#informer.start();
    await this.#informer.whenSynced();
    this.#queue.start();
    this.look();
    await this.#found.promise;
  }

  /** Something that a step may wait for has changed. */
  look(): void {
    this.#queue.add(KEY);
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
    await this.#informer.stop();
  }

  /** Serves what the Secret holds; what cannot be served changes nothing. */
  #take(secret: Secret): void {
    const { log, name, namespace } = this.#settings;
    try {
      const kept = readCertificates(secret.data);
      this.#state = kept.kind === 'ours' ? kept.state : undefined;
      const served = kept.kind === 'ours' ? servedIn(kept.state) : kept.served;
      this.fault = undefined;
      this.#found.resolve(undefined);
      if (this.#holder.set(served)) {
        const expires = new Date(endOf(served.cert)).toISOString();
        log.info('certificate loaded', { secret: name, namespace, made: kept.kind, expires });
      }
    } catch (error) {
      if (!(error instanceof CertificateDataError)) throw error;
      this.fault = `Secret ${namespace}/${name}: ${error.message}; correct that key, or delete the Secret to have everything created again`;
      log.error('certificate rejected', { secret: name, namespace, error: error.message, serving: this.#servingNow() });
    }
  }

  #servingNow(): string {
    return this.#holder.isEmpty ? 'nothing' : 'the last good one';
  }

  async #work(): Promise<WorkOutcome> {
    const { namespace, name, leadership } = this.#settings;
    const secret = this.#informer.get(`${namespace}/${name}`);
    if (secret === undefined) {
      // Of several replicas that start at once the API server lets one create it; none waits for the lease.
      if (this.#holder.isEmpty || leadership.isLeader()) return this.#create();
      return this.#again();
    }
    if (this.fault !== undefined || this.#state === undefined || !leadership.isLeader()) return this.#again();
    return this.#rotate(secret, this.#state);
  }

  #again(): WorkOutcome {
    return { kind: 'again', afterMs: this.#lookAgainMs };
  }

  async #create(): Promise<WorkOutcome> {
    const { kube, namespace, name, policy, log } = this.#settings;
    const situation = this.#situation();
    const state = this.#state ?? (await takeStep(undefined, MAKE, situation, policy, this.#maker()));
    const body: Secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace, labels: PART_OF_WEIR },
      type: 'Opaque',
      data: writeCertificates(state),
    };
    try {
      this.#informer.accept(await kube.create(RESOURCES.secrets, namespace, body));
      log.info('certificates created', { secret: name, namespace, restored: state === this.#state });
      return DONE;
    } catch (error) {
      if (!hasStatus(error, 409)) throw error;
      return { kind: 'again', afterMs: CONFLICT_MS };
    }
  }

  async #rotate(secret: Secret, state: KeptState): Promise<WorkOutcome> {
    const { policy, names, log, leadership } = this.#settings;
    const request = this.#requestOf(secret);
    const situation = { ...this.#situation(), request, missingName: nameMissingIn(state.leaf.cert, names) };
    const step = planRotation(state, situation, policy);
    if (step === undefined) return this.#again();
    const next = await takeStep(state, step, situation, policy, this.#maker());
    if (!leadership.isLeader()) return this.#again();
    const isWritten = await this.#write(secret, next, step.settles);
    if (isWritten) log.info('certificates rotated', { step: step.kind, request, leafEnds: next.leaf.endsMs });
    return { kind: 'again', afterMs: isWritten ? 0 : CONFLICT_MS };
  }

  async #write(secret: Secret, state: KeptState, settles: boolean): Promise<boolean> {
    const { metadata } = secret;
    const annotations = Object.entries(metadata.annotations ?? {}).filter(
      ([name]) => !settles || name !== ROTATE_ANNOTATION,
    );
    const body: Secret = {
      ...secret,
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        ...metadata,
        labels: { ...metadata.labels, ...PART_OF_WEIR },
        annotations: Object.fromEntries(annotations),
      },
      data: writeCertificates(state),
    };
    try {
      this.#informer.accept(await this.#settings.leaderKube.replace(RESOURCES.secrets, body));
      return true;
    } catch (error) {
      if (hasStatus(error, 404, 409)) return false;
      throw error;
    }
  }

  #situation(): Situation {
    return { nowMs: Date.now(), isDistributed: this.#settings.isDistributed() };
  }

  #requestOf({ metadata }: Secret): 'leaf' | 'ca' | undefined {
    const asked = metadata.annotations?.[ROTATE_ANNOTATION];
    if (asked === undefined || asked === 'leaf' || asked === 'ca') return asked;
    this.#settings.log.warn('rotation refused: the annotation must be "leaf" or "ca"', {
      annotation: ROTATE_ANNOTATION,
    });
    return undefined;
  }

  #maker(): Maker<Authority, Leaf> {
    const { names } = this.#settings;
    return {
      makeCa: async (endsMs) => ({ ...(await makeAuthority(endsMs)), endsMs }),
      makeLeaf: async ({ cert, key }, endsMs) => {
        if (key === undefined) throw new Error('a CA without its key signs nothing');
        return { ...(await issueLeaf({ cert, key }, names, endsMs)), endsMs };
      },
    };
  }
}

const MAKE: Step = { kind: 'make', settles: true };

/** Who manages which field is never read, and is not sent back. */
export function withoutManagers<T extends KubeObject>(object: T): T {
  const metadata = Object.fromEntries(Object.entries(object.metadata).filter(([name]) => name !== 'managedFields'));
  return { ...object, metadata: { ...metadata, name: object.metadata.name } };
}
