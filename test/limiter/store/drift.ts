// Test part, a program: 10^7 charges of one bucket, never full, at random times. Output: by how much the state
// differs from what whole numbers of any size say, in units/period, as JSON.
import {
  applyCharge,
  compileRule,
  viewBucket,
  type StoredBucket,
} from '../../../src/limiter/store/rule/bucket-state.ts';
import { DAY, tokens } from './fixtures.ts';

const OPERATIONS = 10_000_000;
const DEBT = 1e9;
const rule = compileRule(tokens(7919, DAY - 1000));
if (rule.kind !== 'bucket') throw new Error('a bucket');

const start = 2_000_000_000_000_000;
let now = start;
let random = 12_345;
let state: StoredBucket = { used: DEBT, at: start, carry: 0, period: rule.period, shadow: false };
for (let index = 0; index < OPERATIONS; index++) {
  random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
  now += random % 20_000_000;
  const view = viewBucket(state, rule, false, now, () => {
    throw new Error('no window here');
  });
  state = applyCharge(view, 1, false) ?? { ...state, used: 0 };
}
const period = BigInt(rule.period);
const expected = BigInt(DEBT + OPERATIONS) * period - BigInt(now - start) * BigInt(rule.units);
const drift = BigInt(state.used) * period - BigInt(state.carry) - expected;
process.stdout.write(JSON.stringify({ operations: OPERATIONS, drift: String(drift) }));
