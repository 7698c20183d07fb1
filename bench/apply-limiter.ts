// One limiter of bench/apply.ts, a process of its own: `weir limiter` as it is, with a word to the parent at each
// config in force. In: who it is, as JSON; out: a message per resource, with the time on the clock that all processes
// of a machine share.
import { join } from 'node:path';
import { silentLogger } from '../src/lib/log.ts';
import { ConfigClient } from '../src/limiter/config/config-client.ts';
import type { ConfigSource, VersionedConfig } from '../src/limiter/config/config-source.ts';
import { runLimiter } from '../src/limiter/main.ts';
import { LIMITER_DEFAULTS } from '../src/limiter/settings.ts';

export interface ApplyLimiterOptions {
  readonly id: string;
  /** `host:port` of the push port. */
  readonly operator: string;
  readonly caFile: string;
  readonly tokenFile: string;
  readonly folder: string;
}

/** The object `name` is in force with the amount `mark` since `atNs` (process.hrtime). */
export interface InForceMessage {
  readonly name: string;
  readonly mark: number;
  readonly atNs: string;
}

const { id, operator, caFile, tokenFile, folder } = JSON.parse(process.argv[2] ?? '{}') as ApplyLimiterOptions;
const log = silentLogger();
const snapshotPath = join(folder, `${id}.snapshot`);
const self = { nodeId: id, version: 'bench', namespaces: ['*'] };
const client = new ConfigClient({ operator, caFile, tokenFile, self, snapshotPath, log });

/** The ACK leaves in the same turn of the event loop in which `apply` returns. */
const source: ConfigSource = {
  start: (apply) =>
    client.start((change) => {
      const outcomes = apply(change);
      const atNs = String(process.hrtime.bigint());
      for (const update of change.updates) process.send?.(messageOf(update, atNs));
      return outcomes;
    }),
  close: () => client.close(),
};

function messageOf({ name, resource }: VersionedConfig, atNs: string): InForceMessage {
  const rule = resource.kind === 'Fleet' || resource.kind === 'Sharers' ? undefined : resource.limits[0]?.rule;
  return { name, mark: rule?.kind === 'bucket' ? rule.maxTokens : 0, atNs };
}

const anyPort = { host: '127.0.0.1', port: 0 };
await runLimiter(
  { ...LIMITER_DEFAULTS, id, source, listen: anyPort, adminListen: anyPort, decisionListen: anyPort },
  { logger: log },
);
process.once('disconnect', () => process.exit());
