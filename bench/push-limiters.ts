// The limiters of bench/push.ts, all in one process. In: port, folder with CA and token, options; out: configs
// compiled and acknowledged.
import { join } from 'node:path';
import { ownCapabilities } from '../src/contract/capabilities.ts';
import { silentLogger } from '../src/lib/log.ts';
import { ConfigClient } from '../src/limiter/config/config-client.ts';
import type { ApplyConfigs } from '../src/limiter/config/config-source.ts';
import { compileRuntime } from '../src/limiter/compile/runtime.ts';
import type { PushBenchOptions } from './push.ts';

const [port = '', folder = '', options = '{}'] = process.argv.slice(2);
const { limiters } = JSON.parse(options) as PushBenchOptions;
const own = ownCapabilities();

const apply: ApplyConfigs = ({ updates }) =>
  updates.map(({ name, version, resource }) => {
    if (resource.kind !== 'Fleet' && resource.kind !== 'Sharers') {
      compileRuntime(resource, own, { egressAllow: ['u.test'] });
    }
    return { name, version, accepted: true };
  });

for (let index = 0; index < limiters; index += 1) {
  const nodeId = `limiter-${index}`;
  const client = new ConfigClient({
    operator: `localhost:${port}`,
    caFile: join(folder, 'ca.pem'),
    tokenFile: join(folder, 'token'),
    self: { nodeId, version: 'bench' },
    snapshotPath: join(folder, `${nodeId}.json`),
    log: silentLogger(),
  });
  await client.start(apply);
}
