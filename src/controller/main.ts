// Controller: the wiring. Input: settings. Output: a running operator. The order is the guarantee:
//   caches sync            what is not known cannot be removed from a limiter
//   last good forms load   what only the status refuses stays in effect over a restart
//   everything compiles    the first answer to a limiter is the whole truth
//   push port opens        only now can a limiter be told anything, removals included
//   ready                  with or without the lease; who holds it reads everything again before it serves limiters
//                          and SIGTERM goes the same way back
import type { Server } from 'node:http';
import { createLogger, type Logger } from '../lib/log.ts';
import type { ReconcileSettings } from '../reconcile/types.ts';
import type { OperatorSettings, RunningOperator } from './settings.ts';
import { AckTable } from './push/ack-table.ts';
import { openAdmin } from './admin.ts';
import { Candidacy } from './election/candidacy.ts';
import { ClusterProvider } from './provider/cluster-provider.ts';
import { FileProvider } from './provider/file-provider.ts';
import { objectsOf } from './provider/provider.ts';
import { Parting } from './install/parting.ts';
import { knownLimitersIn, publishFleet, sharedLimitersIn } from './push/fleet.ts';
import { publishedSidecars } from './push/sharers.ts';
import type { Kube } from './kube/kube-api.ts';
import { connectKube } from './kube/kube.ts';
import { ALWAYS_LEADER, type Leadership } from './election/leadership.ts';
import { checkCertificateFolder, OperatorCertificates } from './certificates/operator-certificates.ts';
import { OperatorMetrics } from './operator-metrics.ts';
import { Operator } from './loop/reconcile-loop.ts';
import { OperatorWebhook } from './webhook/operator-webhook.ts';
import { podView } from './world/pod-index.ts';
import { PushServer } from './push/push-server.ts';
import { SnapshotStore } from './push/snapshot-store.ts';
import { UnwatchedStatuses } from './loop/unwatched-statuses.ts';
import { Tenancy } from './credentials/tenancy.ts';

/** It was told to stop before it was ready. */
export class OperatorAborted extends Error {}

/** Longer than the longest back-off of a limiter. */
const RECONNECT_GRACE_MS = 7000;

/**
 * Starts the operator and resolves when it is ready. An API server that does not answer is waited for, until `abort`.
 * @throws KubeconfigError, TlsFolderError, ManifestFolderError, or the error of a port that cannot be bound.
 */
export async function runOperator(settings: OperatorSettings, abort?: AbortSignal): Promise<RunningOperator> {
  const log = settings.log ?? createLogger('operator', settings.logLevel);
  await checkCertificateFolder(settings);
  const process = new OperatorProcess(settings, log);
  try {
    await Promise.race([process.start(), whenAborted(abort)]);
  } catch (error) {
    await process.stop();
    throw error;
  }
  return process;
}

/** All parts of one operator, in the order in which they are started and (backwards) stopped. */
class OperatorProcess implements RunningOperator {
  pushPort = 0;
  adminPort = 0;
  readonly #settings: OperatorSettings;
  readonly #log: Logger;
  readonly #candidacy: Candidacy | undefined;
  readonly #leadership: Leadership;
  readonly #kube: Kube | undefined;
  readonly #provider: ClusterProvider | FileProvider;
  readonly #tenancy: Tenancy;
  readonly #metrics = new OperatorMetrics();
  readonly #store: SnapshotStore;
  readonly #acks = new AckTable((view) => this.#store.namesSeenBy(view));
  readonly #parting: Parting;
  readonly #certificates: OperatorCertificates;
  readonly #operator: Operator;
  readonly #push: PushServer;
  readonly #unwatched: UnwatchedStatuses | undefined;
  readonly #webhook: OperatorWebhook | undefined;
  #admin: Server | undefined;
  #endFleet: () => void = () => undefined;
  #isOpen = false;
  /** Since when limiters can come here, monotonic ms. */
  #servingSinceMs: number | undefined;
  #stopping: Promise<void> | undefined;

  constructor(settings: OperatorSettings, log: Logger) {
    this.#settings = settings;
    this.#log = log;
    const { source } = settings;
    const watched = source.kind === 'cluster' ? source.namespaces : [];
    this.#kube = source.kind === 'cluster' ? connectKube(source) : undefined;
    this.#store = new SnapshotStore(undefined, watched);
    const isServing = (): boolean => performance.now() > this.#quietUntilMs();
    this.#parting = new Parting({ acks: this.#acks, pushAll: () => this.#operator.recompile(), isServing, log });
    this.#candidacy = this.#makeCandidacy();
    this.#leadership = this.#candidacy?.leadership ?? ALWAYS_LEADER;
    this.#provider = this.#makeProvider();
    const { defaultRedis, redisKeySecret: keySecret = { namespace: 'weir-system', name: 'weir-redis-acl' } } = settings;
    const { secrets } = this.#provider;
    this.#tenancy = new Tenancy(
      { watched, keySecret, users: settings.redisUsers, ...(defaultRedis === undefined ? {} : { defaultRedis }) },
      { kube: this.#kube, secrets, leadership: this.#leadership, log },
    );
    this.#certificates = this.#makeCertificates();
    const parts = { store: this.#store, acks: this.#acks, log };
    this.#webhook = this.#makeWebhook();
    this.#operator = new Operator({
      ...parts,
      injector: this.#webhook,
      eventPersistsMs: settings.eventPersistsMs,
      provider: this.#provider,
      leadership: this.#leadership,
      metrics: this.#metrics,
      parting: this.#parting,
      reconcileSettings: reconcileSettingsOf(settings, this.#tenancy.rules),
      secrets: this.#tenancy.secrets,
      quietUntilMs: () => this.#quietUntilMs(),
    });
    const { authenticate } = this.#provider;
    const isHolder = (): boolean => this.#leadership.isLeader();
    this.#unwatched = this.#makeUnwatched(watched);
    const onUnwatched = (namespaces: Iterable<string>): void => this.#unwatched?.note(namespaces);
    const pushParts = { ...parts, authenticate, observer: this.#metrics, isHolder, onUnwatched };
    this.#push = new PushServer(pushParts, settings.pushListen);
    this.#connectParts();
  }

  get caFile(): string {
    return this.#certificates.caFile;
  }

  get webhookPort(): number | undefined {
    return this.#webhook?.port;
  }

  async start(): Promise<void> {
    const view = { readiness: () => this.#readiness(), metrics: () => this.metrics() };
    const provider = this.#provider;
    const statusView = provider instanceof FileProvider ? { status: () => provider.statuses() } : {};
    const admin = await openAdmin({ ...view, ...statusView }, this.#settings.adminListen, this.#log);
    this.#admin = admin.server;
    this.adminPort = admin.port;
    provider.start();
    await this.#certificates.start();
    await this.#webhook?.start();
    this.#push.replaceCertificate(this.#certificates.source.current());
    await provider.whenReady();
    await this.#tenancy.start();
    if (this.#isStopping()) return;
    await this.#operator.start();
    if (this.#isStopping()) return;
    this.#publishFleet();
    this.#unwatched?.start();
    this.pushPort = await this.#push.listen();
    this.#isOpen = true;
    if (this.#candidacy === undefined) this.#servingSinceMs = performance.now();
    this.#candidacy?.start();
    const { pushPort, adminPort } = this;
    this.#log.info('operator is ready', { pushPort, adminPort, server: this.#kube?.server, objects: this.#store.size });
  }

  metrics(): Promise<string> {
    return this.#metrics.registry.metrics();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  #isStopping(): boolean {
    return this.#stopping !== undefined;
  }

  async #stop(): Promise<void> {
    this.#log.info('operator is stopping');
    this.#isOpen = false;
    this.#servingSinceMs = undefined;
    await this.#candidacy?.resign();
    this.#endFleet();
    // It answers on while the rest stops: the API server may not have heard yet that this replica goes.
    const webhookStopped = this.#webhook?.stop();
    await this.#operator.stop();
    await this.#push.close();
    await this.#unwatched?.stop();
    await webhookStopped;
    await this.#tenancy.stop();
    await this.#certificates.stop();
    await this.#provider.stop();
    await this.#kube?.close();
    await new Promise<void>((resolve) => {
      if (this.#admin === undefined) resolve();
      this.#admin?.close(() => {
        resolve();
      });
      this.#admin?.closeAllConnections();
    });
  }

  #makeProvider(): ClusterProvider | FileProvider {
    const { source } = this.#settings;
    const log = this.#log;
    if (source.kind === 'files') return new FileProvider({ ...source, log });
    if (this.#kube === undefined) throw new Error('a cluster needs a connection');
    const writes = this.#candidacy?.writes ?? this.#kube;
    const { namespaces } = source;
    const onEvent = (result: string): void => {
      this.#metrics.eventTold(result);
    };
    return new ClusterProvider({ kube: this.#kube, writes, namespaces, leadership: this.#leadership, log, onEvent });
  }

  #makeUnwatched(watched: readonly string[]): UnwatchedStatuses | undefined {
    const kube = this.#candidacy?.writes ?? this.#kube;
    if (kube === undefined) return undefined;
    return new UnwatchedStatuses({ kube, watched, leadership: this.#leadership, log: this.#log });
  }

  /** Until then limiters may not have come back yet, monotonic ms. */
  #quietUntilMs(): number {
    const graceMs = this.#settings.reconnectGraceMs ?? (this.#kube === undefined ? 0 : RECONNECT_GRACE_MS);
    return (this.#servingSinceMs ?? Infinity) + graceMs;
  }

  #makeCandidacy(): Candidacy | undefined {
    const { election } = this.#settings;
    if (election === undefined || this.#kube === undefined) return undefined;
    const prepare = (): Promise<void> => this.#prepareToLead();
    return new Candidacy(election, {
      kube: this.#kube,
      log: this.#log,
      observer: this.#metrics,
      notes: {
        read: (annotations) => {
          this.#parting.read(annotations);
          this.#unwatched?.read(annotations);
        },
        wanted: () => ({ ...this.#parting.wanted(), ...this.#unwatched?.wanted() }),
      },
      prepare,
    });
  }

  /**
   * Between the taking of the lease and the first limiter: what another leader did must be known, whatever the
   * watches of this process have missed, because what is not known is removed from limiters.
   */
  async #prepareToLead(): Promise<void> {
    if (this.#provider instanceof ClusterProvider) await this.#provider.refresh();
    await this.#operator.recompile();
    this.#publishFleet();
    this.#servingSinceMs = performance.now();
  }

  #publishFleet(): void {
    const objects = objectsOf(this.#provider);
    const knownBefore = knownLimitersIn(objects.map(({ status }) => status));
    const sharedBefore = sharedLimitersIn(
      objects.map(({ kind, metadata, status }) => ({ ref: { kind, ...metadata }, status })),
      (ref) => publishedSidecars(this.#store, ref),
    );
    const { egressAllow, clusterDomain } = this.#settings;
    const domain = clusterDomain === undefined ? {} : { clusterDomain };
    this.#endFleet();
    this.#endFleet = publishFleet(this.#store, this.#acks, { egressAllow, knownBefore, sharedBefore, ...domain });
  }

  #makeCertificates(): OperatorCertificates {
    const { source } = this.#settings;
    const leaderKube = this.#candidacy?.writes;
    return new OperatorCertificates(this.#settings, {
      kube: this.#kube,
      ...(leaderKube === undefined ? {} : { leaderKube }),
      namespaces: source.kind === 'cluster' ? source.namespaces : [],
      pods: this.#provider.pods,
      leadership: this.#leadership,
      log: this.#log,
    });
  }

  /** Needs no cache and no lease: every replica answers, as soon as it has a certificate. */
  #makeWebhook(): OperatorWebhook | undefined {
    const { webhook, source } = this.#settings;
    if (webhook === undefined || this.#kube === undefined || source.kind !== 'cluster') return undefined;
    return new OperatorWebhook(webhook, {
      kube: this.#kube,
      namespaces: source.namespaces,
      certificates: this.#certificates.source,
      ensureCaConfigMap: this.#certificates.ensureCaConfigMap,
      observer: this.#metrics,
      log: this.#log,
    });
  }

  /** What one part must hear of another. */
  #connectParts(): void {
    this.#provider.pods.onChange(({ before, after }) => {
      const gone = before?.metadata.uid;
      if (gone !== undefined && gone !== after?.metadata.uid) this.#push.removePod(gone);
      if (after !== undefined) this.#push.setPod(podView(after));
    });
    this.#leadership.onChange((isLeader) => {
      if (isLeader) return;
      this.#servingSinceMs = undefined;
      this.#push.endStreams('this operator has lost the lease');
    });
    this.#certificates.source.onChange(() => {
      this.#push.replaceCertificate(this.#certificates.source.current());
    });
    this.#certificates.registerMetrics(this.#metrics.registry);
    this.#metrics.watch({
      queueDepth: () => ({ ...this.#operator.depths(), ...this.#provider.depths() }),
      connectedLimiters: () => this.#acks.count().connected,
      feeds: () => ({ ...this.#provider.stats(), ...this.#tenancy.stats() }),
      isLeader: () => this.#leadership.isLeader(),
      isInjectionFaulty: () => this.#webhook?.isFaulty === true,
    });
  }

  #readiness(): { ready: boolean; reason: string } {
    if (this.#isStopping()) return { ready: false, reason: 'stopping' };
    const { missing } = this.#certificates;
    if (missing !== undefined) return { ready: false, reason: missing };
    if (!this.#provider.isReady()) {
      return { ready: false, reason: ['caches have not synced', ...this.#provider.waitsFor()].join('; ') };
    }
    return { ready: this.#isOpen, reason: this.#isOpen ? 'ready' : 'the push port is not open' };
  }
}

function reconcileSettingsOf(
  { defaultMemory, clusterDomain, weirCommand }: OperatorSettings,
  rules: ReconcileSettings,
): ReconcileSettings {
  return {
    ...(defaultMemory === true ? { defaultStore: { type: 'memory' } } : {}),
    ...rules,
    ...(clusterDomain === undefined ? {} : { clusterDomain }),
    ...(weirCommand === undefined ? {} : { weirCommand }),
  };
}

/** Rejects when the signal says so; never resolves. */
function whenAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = (): void => {
      reject(new OperatorAborted('stopped before it was ready'));
    };
    if (signal?.aborted === true) abort();
    signal?.addEventListener('abort', abort, { once: true });
  });
}
