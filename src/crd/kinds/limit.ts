// CRD: `rateLimiting.limits[]`: a measure, an amount, a key; in: the kind, out: schema and type of a limit.
import type { ObjectKind } from '../../contract/limiter-config.ts';
import { MEASURE_NAMES, TOKEN_MEASURES } from '../../contract/measures.ts';
import { keyPartSchema } from './key-part.ts';
import { matchSchema } from './match.ts';
import { DEFAULTS } from '../defaults.ts';
import { choice, exactlyOne, flag, integer, list, object, text, withDefault, withDefaultWords } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { amount, decimal, duration, label, timeZone } from './values.ts';

const { limit } = DEFAULTS;

const PERIODS = ['Second', 'Minute', 'Hour', 'Day', 'Week', 'Month', 'Year'] as const;

const refillPeriod = duration('Time in which the amount flows in, continuously.');
const burst = withDefaultWords(
  amount('Capacity of the bucket. It starts full, so up to burst + maxTokens may pass in the first period.', 1),
  'maxTokens',
);
const maxTokens = amount('Amount that flows in per refillPeriod, in units of the measure.', 1);
const maxCost = decimal(
  'Amount for the measure Cost, in rateLimiting.currency. 0 refuses every request to which the limit applies.',
);

/** A token bucket of the short form, which counts calls. */
export const bucket = object(
  'A token bucket: maxTokens flow in per refillPeriod, continuously. It holds at most burst and starts full.',
  { maxTokens, refillPeriod },
  { burst },
);
export type Bucket = Infer<typeof bucket>;

const limitBucket = object(
  'A token bucket: maxTokens (maxCost for the measure Cost) flow in per refillPeriod, continuously. It holds at most burst and starts full.',
  { refillPeriod },
  { maxTokens, maxCost, burst },
);
export type LimitBucket = Infer<typeof limitBucket>;

const limitWindow = object(
  'A fixed window, aligned to the calendar.',
  { period: choice('Length of the window.', PERIODS) },
  {
    limit: amount(
      'Amount that may pass per window, in units of the measure. 0 refuses every request to which the limit applies.',
      0,
    ),
    maxCost,
    timeZone: timeZone(),
  },
);
export type Window = Infer<typeof limitWindow>;

const concurrencyRule: Rule = {
  rule: "(has(self.measure) && self.measure == 'Concurrency') == has(self.concurrency)",
  message: 'measure Concurrency goes with concurrency, every other measure with bucket or window',
};
const costRule: Rule = {
  rule:
    "(!has(self.bucket) || (has(self.measure) && self.measure == 'Cost' ? has(self.bucket.maxCost) && !has(self.bucket.maxTokens) : has(self.bucket.maxTokens) && !has(self.bucket.maxCost)))" +
    " && (!has(self.window) || (has(self.measure) && self.measure == 'Cost' ? has(self.window.maxCost) && !has(self.window.limit) : has(self.window.limit) && !has(self.window.maxCost)))",
  message: 'measure Cost goes with maxCost, every other measure with maxTokens or limit',
};

/** Rules that hold for one kind only: what is not in its requests cannot be counted or asked for. */
function kindRules(kind: ObjectKind): { measure: Rule[]; part: Rule[]; match: Rule[] } {
  if (kind === 'MCPServer') {
    const measure = TOKEN_MEASURES.map((name) => ({
      rule: `self != '${name}'`,
      message: `measure ${name} does not apply to MCPServer`,
    }));
    return { measure, part: [], match: [] };
  }
  const rule = '!has(self.tool)';
  return {
    measure: [],
    part: [{ rule, fieldPath: '.tool', message: 'key part tool does not apply to ModelRoute' }],
    match: [{ rule, fieldPath: '.tool', message: 'match tool does not apply to ModelRoute' }],
  };
}

/** The schema of a limit in an object of `kind`. */
export function limitSchema(kind: ObjectKind) {
  const rules = kindRules(kind);
  return object(
    'One limit: what is counted (measure), how much of it may pass (bucket, window or concurrency), and for whom it is counted (per).',
    { name: label('Name of the limit, unique in the object. Refusals, metrics and the status show it.') },
    {
      measure: withDefault(choice('What is counted.', MEASURE_NAMES, rules.measure), limit.measure),
      bucket: limitBucket,
      window: limitWindow,
      concurrency: integer('Number of requests that may run at a time, for the measure Concurrency.', 1, 1_000_000),
      per: withDefaultWords(
        list('Parts of the key of a bucket: each combination of values has its own.', keyPartSchema(rules.part), {
          max: 5,
        }),
        'one bucket for all callers',
      ),
      when: withDefaultWords(
        list('Conditions on the request; all must hold.', matchSchema(rules), { max: 8 }),
        'every request',
      ),
      group: label('Tiers: of the limits that share a group, only the first whose when holds applies.'),
      priority: withDefault(
        integer('Order in the group: higher values first, equal values in list order.', -2_147_483_648, 2_147_483_647),
        limit.priority,
      ),
      enforcement: withDefaultWords(
        enforcement('Overrides rateLimiting.enforcement for this limit.'),
        'rateLimiting.enforcement',
      ),
      cost: withDefault(amount('Units that a request takes, for the measure Requests.', 1), limit.cost),
      cachedInputWeight: withDefault(
        text('Weight of a cached input token, a decimal in quotes from "0" to "1".', {
          max: 11,
          pattern: '^(0(\\.[0-9]{1,9})?|1(\\.0{1,9})?)$',
        }),
        limit.cachedInputWeight,
      ),
      cutStreams: withDefault(
        flag('true: streams that are running end when the limit is exhausted or becomes 0.'),
        limit.cutStreams,
      ),
    },
    [exactlyOne(['bucket', 'window', 'concurrency']), concurrencyRule, costRule],
  );
}

/** One limit of an object, as it was written. */
export type Limit = Infer<ReturnType<typeof limitSchema>>;

/** `Enforce` refuses, `Shadow` only counts and reports. */
export function enforcement(description: string) {
  return choice(`${description} Shadow: the limit counts and reports, and never refuses.`, ['Enforce', 'Shadow']);
}
