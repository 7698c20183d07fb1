// Controller: the certificates of one operator. Input: settings, the API, pods, the lease. Output: a source for its
// ports, kept in a Secret or a folder, and the CA handed out to those who must trust it.
import { join } from 'node:path';
import type { Registry } from 'prom-client';
import type { Logger } from '../../lib/log.ts';
import { CaDistributor } from './ca-distributor.ts';
import { certificatesIn, endOf, isSignedByOneOf } from './certificate-authority.ts';
import { registerCertificateMetrics } from './certificate-metrics.ts';
import { DEFAULT_POLICY, type RotationPolicy } from './certificate-plan.ts';
import { SecretCertificates } from './certificate-secret.ts';
import type { CertificateSource } from './certificate-source.ts';
import { FolderCertificates, loadOrMakeCertificate } from './certificate-folder.ts';
import type { Kube } from '../kube/kube-api.ts';
import type { Pod } from '../kube/kube-types.ts';
import type { Leadership } from '../election/leadership.ts';
import type { Feed } from '../kube/object-feed.ts';

export interface CertificateSettings {
  /** Holds tls.crt, tls.key and ca.crt; made when it is empty. Not used with `certificateSecret`. */
  readonly tlsDir: string;
  /** Names and addresses by which limiters dial the push port, beside localhost. */
  readonly tlsNames: readonly string[];
  /** Certificates are kept in this Secret of the own namespace. */
  readonly certificateSecret?: string | undefined;
  /** Where the operator runs; undefined: it is not a pod and distributes no CA. */
  readonly ownNamespace?: string | undefined;
  /** ConfigMap with the CA in each namespace with limiters. */
  readonly caConfigMap?: string | undefined;
  /** Its webhooks are given the CA; undefined: there is none. */
  readonly webhookConfiguration?: string | undefined;
  /** The Service by which the API server dials the webhook. */
  readonly webhookService?: string | undefined;
  readonly rotation?: Partial<RotationPolicy>;
}

export interface CertificateParts {
  readonly kube: Kube | undefined;
  /** The same, but it writes only while the lease is held; default: `kube`. */
  readonly leaderKube?: Kube | undefined;
  /** Empty = all. */
  readonly namespaces: readonly string[];
  readonly pods: Feed<Pod>;
  readonly leadership: Leadership;
  readonly log: Logger;
}

const LOCAL_NAMES = ['localhost', '127.0.0.1', '::1'];
const CA_CONFIG_MAP = 'weir-ca';

export class OperatorCertificates {
  /** The file of the CA; '' when certificates are kept in a Secret. */
  readonly caFile: string;
  readonly source: CertificateSource;
  readonly #kept: SecretCertificates | FolderCertificates;
  readonly #distributor: CaDistributor | undefined;
  readonly #leadership: Leadership;
  readonly #running: { start(): Promise<void>; stop(): Promise<void> }[] = [];
  #isStarted = false;

  constructor(settings: CertificateSettings, parts: CertificateParts) {
    const { kube, leaderKube = kube, leadership, log } = parts;
    const { tlsDir, certificateSecret, ownNamespace, caConfigMap = CA_CONFIG_MAP, webhookConfiguration } = settings;
    this.#leadership = leadership;
    const names = namesOf(settings);
    if (certificateSecret === undefined) {
      this.#kept = new FolderCertificates({ folder: tlsDir, names, log });
      this.caFile = join(tlsDir, 'ca.crt');
    } else {
      if (kube === undefined || leaderKube === undefined || ownNamespace === undefined)
        throw new Error('a Secret needs a cluster and a namespace');
      this.#kept = new SecretCertificates({
        kube,
        leaderKube,
        leadership,
        log,
        namespace: ownNamespace,
        name: certificateSecret,
        names: [...new Set([...LOCAL_NAMES, ...names])],
        policy: { ...DEFAULT_POLICY, ...settings.rotation },
        isDistributed: () => this.#distributor?.isDistributed() === true,
      });
      this.caFile = '';
    }
    this.source = this.#kept;
    if (kube === undefined || leaderKube === undefined || ownNamespace === undefined) return;
    const { source } = this;
    const placed = { ownNamespace, configMap: caConfigMap, webhookConfiguration };
    this.#distributor = new CaDistributor({
      ...parts,
      ...placed,
      kube,
      leaderKube,
      source,
      onProgress: () => {
        this.#lookAgain();
      },
    });
  }

  /** What is wrong with what is kept now. */
  get fault(): string | undefined {
    return this.#kept.fault;
  }

  /** Why the operator is not ready; undefined when it has a certificate. */
  get missing(): string | undefined {
    return this.#isStarted ? undefined : (this.fault ?? 'there is no certificate yet');
  }

  /** Resolves when there is a certificate; the CA is handed out from then on. @throws TlsFolderError */
  async start(): Promise<void> {
    this.#running.push(this.#kept);
    await this.#kept.start();
    this.#isStarted = true;
    if (this.#distributor === undefined) return;
    this.#running.push(this.#distributor);
    void this.#distributor.start();
  }

  async stop(): Promise<void> {
    for (const part of this.#running.splice(0).reverse()) await part.stop();
  }

  /** See EnsureCaConfigMap. */
  readonly ensureCaConfigMap = async (namespace: string): Promise<void> => {
    await this.#distributor?.ensure(namespace);
  };

  registerMetrics(registry: Registry): void {
    registerCertificateMetrics(registry, {
      leafEndsMs: () => (this.#isStarted ? endOf(this.source.current().cert) : undefined),
      caEndsMs: () => (this.#isStarted ? this.#caEndsMs() : undefined),
      hasFault: () => this.fault !== undefined,
      undistributed: () =>
        this.#leadership.isLeader() && this.#isStarted ? (this.#distributor?.undistributed() ?? 0) : 0,
    });
  }

  #lookAgain(): void {
    if (this.#kept instanceof SecretCertificates) this.#kept.look();
  }

  #caEndsMs(): number | undefined {
    const { cert, caBundle } = this.source.current();
    const signer = certificatesIn(caBundle).find((ca) => isSignedByOneOf(cert, ca));
    return signer === undefined ? undefined : endOf(signer);
  }
}

/**
 * Before anything else is begun. @throws TlsFolderError when certificates are to be kept in a folder that cannot be
 * used.
 */
export async function checkCertificateFolder(settings: CertificateSettings): Promise<void> {
  if (settings.certificateSecret === undefined) await loadOrMakeCertificate(settings.tlsDir, namesOf(settings));
}

function namesOf({ tlsNames, webhookConfiguration, webhookService, ownNamespace }: CertificateSettings): string[] {
  const hasWebhook = webhookConfiguration !== undefined && webhookService !== undefined && ownNamespace !== undefined;
  const names = [...tlsNames, ...(hasWebhook ? [`${webhookService}.${ownNamespace}.svc`] : [])];
  return [...new Set(names)];
}
