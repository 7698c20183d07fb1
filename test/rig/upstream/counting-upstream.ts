// Test upstream as a process of its own: `node test/rig/upstream/counting-upstream.ts --port N [--host H]` serves the
// stand-in model and prints its URL on one line; it ends on SIGTERM.
import { parseArgs } from 'node:util';
import { startStandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '0' }, host: { type: 'string', default: '127.0.0.1' } },
});
const upstream = await startStandInModel({ host: values.host, port: Number(values.port) });
process.stdout.write(`${upstream.url}\n`);
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    void upstream.close().then(() => process.exit(0));
  });
}
