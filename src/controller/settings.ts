// Controller: the words of the wiring. Input: nothing. Output: what an operator is started with, and what can be done
// with a running one.
import type { ListenAddress } from '../lib/http/http-listener.ts';
import type { Logger, LogLevel } from '../lib/log.ts';
import type { CertificateSettings } from './certificates/operator-certificates.ts';
import type { DefaultRedisSettings } from './credentials/default-redis.ts';
import type { TenancySettings } from './credentials/tenancy.ts';
import type { CandidacySettings } from './election/candidacy.ts';
import type { WebhookSettings } from './webhook/operator-webhook.ts';

export interface OperatorSettings extends CertificateSettings {
  /** Where objects come from. */
  readonly source:
    | {
        readonly kind: 'cluster';
        /** undefined = $KUBECONFIG, ~/.kube/config, then the pod's service account. */
        readonly kubeconfig?: string | undefined;
        readonly context?: string | undefined;
        /** Empty = all. */
        readonly namespaces: readonly string[];
      }
    | {
        readonly kind: 'files';
        readonly folder: string;
        /** Limiters must bring it; never empty. */
        readonly token: string;
        /** Where last good forms survive a restart; absent: they do not. Its folder must be there. */
        readonly lastGoodFile?: string | undefined;
        /** Called with a line for people whenever the status of an object changed. */
        readonly print?: (line: string) => void;
      };
  readonly pushListen: ListenAddress;
  readonly adminListen: ListenAddress;
  /** Undefined: objects with scope Shared need their own. */
  readonly defaultRedis?: DefaultRedisSettings | undefined;
  /** The Secret with the key of the default Redis's users; default weir-system/weir-redis-acl. */
  readonly redisKeySecret?: { readonly namespace: string; readonly name: string };
  readonly redisUsers?: TenancySettings['users'];
  /** true: without `defaultRedis`, Shared scope uses the memory of each limiter (for one limiter on a laptop). */
  readonly defaultMemory?: boolean;
  readonly clusterDomain?: string | undefined;
  /** How people run `weir` in this installation. */
  readonly weirCommand?: string | undefined;
  /** CIDRs, host names and `*.example.com` that shared limiters may dial. */
  readonly egressAllow: readonly string[];
  /** Sidecar injection; absent: none. Needs a cluster. */
  readonly webhook?: WebhookSettings | undefined;
  readonly logLevel: LogLevel;
  /** Absent: this is the only operator. */
  readonly election?: CandidacySettings | undefined;
  /** Default: JSON lines on stderr. */
  readonly log?: Logger;
  /**
   * After the push port opened or the lease was taken, limiters get this long to come back before a status says that
   * they are missing; ms.
   */
  readonly reconnectGraceMs?: number;
  /** How long what a rollout passes through must persist before it becomes an Event, ms; default one minute. */
  readonly eventPersistsMs?: number | undefined;
}

export interface RunningOperator {
  readonly pushPort: number;
  readonly adminPort: number;
  /** undefined: no sidecars are injected. */
  readonly webhookPort: number | undefined;
  /** The CA certificate that limiters must trust; '' when certificates are kept in a Secret. */
  readonly caFile: string;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** Ends streams, finishes running writes, closes the ports. Can be called twice. */
  stop(): Promise<void>;
}
