// `make fuzz`: every target, or one, for a while each, with new numbers. In: --seconds, --target, --seed; out: one
// line a target; exit code 1 and the input when a promise is broken.
import { inspect, parseArgs } from 'node:util';
import { fuzz } from './fuzz.ts';
import { TARGETS } from './targets.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, target: { type: 'string' }, seed: { type: 'string' } },
});
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed);
const chosen = TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
if (chosen.length === 0) {
  process.stderr.write(`--target ${values.target}: there are ${TARGETS.map(({ name }) => name).join(', ')}\n`);
  process.exitCode = 2;
}
for (const target of chosen) {
  const end = performance.now() + Number(values.seconds) * 1000;
  try {
    const { inputs, outcomes } = await fuzz(target, seed, () => performance.now() > end);
    process.stdout.write(`${target.name}: ${inputs} inputs, ${Object.keys(outcomes).length} outcomes, seed ${seed}\n`);
  } catch (error) {
    process.stderr.write(`${inspect(error)}\n`);
    process.exitCode = 1;
  }
}
