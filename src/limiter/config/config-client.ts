// Limiter: the limiter's end of the push. In: resources from the operator (incremental xDS over TLS) and the snapshot
// on disk; out: changes for the runtime, an ACK or a NACK per response, and the snapshot file kept up to date.
import { Client, connectivityState, Metadata, status, type ClientDuplexStream, type StatusObject } from '@grpc/grpc-js';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import {
  formatRejections,
  GOODBYE,
  loadPushProtocol,
  LIMITER_CONFIG_TYPE_URL,
  MAX_REQUEST_BYTES,
  MAX_RESPONSE_BYTES,
  OWN_FEATURES,
  toNode,
  WILDCARD,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type LimiterSelf,
} from '../../contract/push-protocol.ts';
import { NO_TROUBLE, toReportRequest, type LimiterReport } from '../../contract/limiter-report.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { ApplyConfigs, ConfigSource } from './config-source.ts';
import { HeldConfigs } from './held-configs.ts';
import { OperatorCredentials } from './operator-credentials.ts';
import { SnapshotFile } from './snapshot-file.ts';

/** What a config client tells of its work, for metrics. */
export interface ConfigClientObserver {
  /** Whether there is a stream that the operator has answered on. */
  connected?(isConnected: boolean): void;
  /** A response was applied; how many resources of it were refused. */
  pushed?(accepted: number, rejected: number): void;
}

/** All durations in ms. */
export interface ConfigClientSettings {
  /** The operator's push port, `host:port`; several: one of them serves, and it is looked for in turn. */
  readonly operator: string | readonly string[];
  /** PEM file of the certificates that the operator's is checked against; read again for each connection. */
  readonly caFile: string;
  /** File with the ServiceAccount token; read again for each connection, because projected tokens are rotated. */
  readonly tokenFile: string;
  readonly self: LimiterSelf;
  /** Where the last good snapshot is kept; absent: nowhere. */
  readonly snapshotPath?: string;
  readonly log: Logger;
  readonly observer?: ConfigClientObserver;
  /** The name in the operator's certificate, when it is not the host of `operator`. */
  readonly serverName?: string;
  readonly minBackoffMs?: number;
  readonly maxBackoffMs?: number;
  /** For a connection: an operator that is stopped or cut off takes it and says nothing. */
  readonly connectMs?: number;
  /**
   * For the operator's first answer on a connection: with a thousand others after a restart it is a matter of
   * waiting.
   */
  readonly firstAnswerMs?: number;
  /** The operator is asked for a sign of life this often, and has as long again to give one. */
  readonly keepaliveMs?: number;
}

const DEFAULTS = {
  minBackoffMs: 200,
  maxBackoffMs: 5_000,
  connectMs: 3_000,
  firstAnswerMs: 30_000,
  keepaliveMs: 5_000,
};
const UNNAMED_OPERATOR = 'weir-operator';
const GOODBYE_MS = 1_000;

type Stream = ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
interface Call {
  readonly operator: string;
  readonly client: Client;
  readonly stream: Stream;
}
type Tuned = ConfigClientSettings & Required<Pick<ConfigClientSettings, keyof typeof DEFAULTS>>;

/** Keeps a stream to the operator for as long as it lives; without one the configs that it has stay in effect. */
export class ConfigClient implements ConfigSource {
  readonly #settings: Tuned;
  readonly #file: SnapshotFile | undefined;
  readonly #operators: readonly string[];
  readonly #closing = new AbortController();
  #loop: Promise<void> | undefined;
  #lastTrouble = '';
  #report = NO_TROUBLE;
  /** Sends the report on the stream that there is. */
  #sendReport: () => void = () => undefined;

  constructor(settings: ConfigClientSettings) {
    this.#settings = { ...DEFAULTS, ...settings };
    const { snapshotPath, log, operator } = settings;
    this.#operators = typeof operator === 'string' ? [operator] : operator;
    this.#file = snapshotPath === undefined ? undefined : new SnapshotFile(snapshotPath, log);
  }

  /** Applies the snapshot on disk, if there is a good one, and begins to look for the operator. */
  async start(apply: ApplyConfigs): Promise<void> {
    const { log } = this.#settings;
    const held = new HeldConfigs(apply, log);
    const kept = await this.#file?.load();
    if (kept !== undefined) {
      const { accepted, rejections } = held.restore(kept);
      log.info('snapshot file loaded', { resources: accepted, rejected: rejections.length });
    }
    this.#loop = this.#run(held);
  }

  report(report: LimiterReport): void {
    this.#report = report;
    this.#sendReport();
  }

  /** Says goodbye to the operator and writes what is not on disk yet. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
    await this.#file?.flush();
  }

  async #run(held: HeldConfigs): Promise<void> {
    const { minBackoffMs, maxBackoffMs, log, observer } = this.#settings;
    const { signal } = this.#closing;
    let backoffMs = minBackoffMs;
    for (let turn = 0; ; turn++) {
      const operator = this.#operators[turn % this.#operators.length] ?? '';
      const { wasServed, trouble } = await this.#connect(operator, held);
      observer?.connected?.(false);
      if (signal.aborted) return;
      if (wasServed || trouble !== this.#lastTrouble) log.warn('no operator', { operator, trouble });
      this.#lastTrouble = trouble;
      // The next of several is tried at once, and a pause made after the last.
      const isLast = (turn + 1) % this.#operators.length === 0;
      if (wasServed) backoffMs = minBackoffMs;
      else if (isLast) backoffMs = Math.min(backoffMs * 2, maxBackoffMs);
      else continue;
      await delay(backoffMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }

  /** One connection from its beginning to its end. Never rejects. */
  async #connect(operator: string, held: HeldConfigs): Promise<{ wasServed: boolean; trouble: string }> {
    let client: Client | undefined;
    try {
      const [ca, token] = await Promise.all([readFile(this.#settings.caFile), this.#readToken()]);
      client = this.#dial(operator, ca);
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${token}`);
      const { path, requestSerialize, responseDeserialize } = loadPushProtocol().method;
      const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
      return await this.#serve({ operator, client, stream }, held);
    } catch (error) {
      return { wasServed: false, trouble: messageOf(error) };
    } finally {
      client?.close();
    }
  }

  #dial(operator: string, ca: Buffer): Client {
    const { keepaliveMs, serverName = operator.replace(/:[0-9]+$/, '').replace(/^\[(.*)\]$/, '$1') } = this.#settings;
    return new Client(`dns:${operator}`, new OperatorCredentials(ca, serverName), {
      'grpc.max_receive_message_length': MAX_RESPONSE_BYTES,
      'grpc.max_send_message_length': MAX_REQUEST_BYTES,
      'grpc.keepalive_time_ms': keepaliveMs,
      'grpc.keepalive_timeout_ms': keepaliveMs,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_http_proxy': 0,
      'grpc.enable_channelz': 0,
      // An address must not be sent as the name of a server (RFC 6066); the certificate is checked against it all the
      // same.
      'grpc.ssl_target_name_override': isIP(serverName) === 0 ? serverName : UNNAMED_OPERATOR,
    });
  }

  async #readToken(): Promise<string> {
    const token = (await readFile(this.#settings.tokenFile, 'utf8')).trim();
    if (!/^\S+$/.test(token)) throw new Error(`token file ${this.#settings.tokenFile} contains no token`);
    return token;
  }

  #serve({ operator, client, stream }: Call, held: HeldConfigs): Promise<{ wasServed: boolean; trouble: string }> {
    const { self, connectMs, firstAnswerMs, log, observer } = this.#settings;
    const { signal } = this.#closing;
    return new Promise((resolve) => {
      let wasServed = false;
      const tell = this.#teller(stream, held);
      const timers = [
        setTimeout(() => {
          stream.cancel();
        }, firstAnswerMs),
        setTimeout(() => {
          if (client.getChannel().getConnectivityState(false) !== connectivityState.READY) stream.cancel();
        }, connectMs),
      ];
      const leave = (): void => {
        stream.end(GOODBYE);
        timers.push(
          setTimeout(() => {
            stream.cancel();
          }, GOODBYE_MS),
        );
      };
      stream.on('data', (response: DeltaDiscoveryResponse) => {
        if (signal.aborted) return;
        clearTimeout(timers[0]);
        stream.write(this.#take(response, held));
        tell();
        if (!wasServed) {
          wasServed = true;
          this.#lastTrouble = '';
          observer?.connected?.(true);
          log.info('operator connected', { operator });
        }
      });
      stream.on('error', () => undefined);
      stream.on('status', ({ code, details }: StatusObject) => {
        for (const timer of timers) clearTimeout(timer);
        this.#sendReport = () => undefined;
        signal.removeEventListener('abort', leave);
        resolve({ wasServed, trouble: `${status[code]}: ${details}` });
      });
      signal.addEventListener('abort', leave);
      stream.write(subscription(self, held));
      if (signal.aborted) leave();
    });
  }

  /** @returns a function that sends the report of now, each one once, if the operator takes reports. */
  #teller(stream: Stream, held: HeldConfigs): () => void {
    let told: LimiterReport | undefined;
    const tell = (): void => {
      if (told === this.#report || !held.takesReports || this.#closing.signal.aborted) return;
      told = this.#report;
      stream.write(toReportRequest(told));
    };
    return () => {
      this.#sendReport = tell;
      tell();
    };
  }

  /** Applies a response. @returns the ACK, or the NACK that names what was refused. */
  #take(response: DeltaDiscoveryResponse, held: HeldConfigs): DeltaDiscoveryRequest {
    const { accepted, rejections } = held.take(response);
    this.#settings.observer?.pushed?.(accepted, rejections.length);
    this.#file?.save(() => held.kept());
    const answer = { type_url: LIMITER_CONFIG_TYPE_URL, response_nonce: response.nonce };
    if (rejections.length === 0) return answer;
    return { ...answer, error_detail: { code: status.INVALID_ARGUMENT, message: formatRejections(rejections) } };
  }
}

/** The first message: everything that there is for this limiter, but for what it holds. */
function subscription(self: Parameters<typeof toNode>[0], held: HeldConfigs): DeltaDiscoveryRequest {
  return {
    node: toNode({ ...self, features: OWN_FEATURES }),
    type_url: LIMITER_CONFIG_TYPE_URL,
    resource_names_subscribe: [WILDCARD],
    initial_resource_versions: held.versions(),
  };
}
