// CRD: `rateLimiting.limits[]`, one rule each: a measure, an amount, a key.
import type { ObjectKind } from '../../contract/limiter-config.ts';
import { keyPartSchema } from './key-part.ts';
import { matchSchema } from './match.ts';
import { choice, exactlyOne, flag, integer, list, object, text, withDefault } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { amount, decimal, duration, label, timeZone } from './values.ts';

const MEASURES = ['Requests', 'InputTokens', 'OutputTokens', 'TotalTokens', 'Cost', 'Concurrency'] as const;
const TOKEN_MEASURES = ['InputTokens', 'OutputTokens', 'TotalTokens'] as const;
const PERIODS = ['Second', 'Minute', 'Hour', 'Day', 'Week', 'Month', 'Year'] as const;

const refillPeriod = duration('Time in which the amount flows in, continuously.');
const burst = amount(
  'What the bucket holds at most; maxTokens when absent. It starts full: up to burst + maxTokens may pass in the first period.',
  1,
);
const maxTokens = amount('What flows in per refillPeriod, in units of the measure.', 1);
const maxCost = decimal('Money for the measure Cost, in rateLimiting.currency; 0 refuses everything.');

/** A token bucket of the short form, which counts calls. */
export const bucket = object(
  'A token bucket: maxTokens flow in per refillPeriod, continuously; it holds at most burst and starts full.',
  { maxTokens, refillPeriod },
  { burst },
);
export type Bucket = Infer<typeof bucket>;

const limitBucket = object(
  'A token bucket: maxTokens (maxCost for the measure Cost) flow in per refillPeriod, continuously; it holds at most burst and starts full.',
  { refillPeriod },
  { maxTokens, maxCost, burst },
);
export type LimitBucket = Infer<typeof limitBucket>;

const limitWindow = object(
  'A fixed window that is aligned to the calendar.',
  { period: choice('Length of the window.', PERIODS) },
  {
    limit: amount('What may pass per window, in units of the measure; 0 refuses everything.', 0),
    maxCost,
    timeZone: timeZone(),
  },
);
export type Window = Infer<typeof limitWindow>;

const concurrencyRule: Rule = {
  rule: "(self.measure == 'Concurrency') == has(self.concurrency)",
  message: 'measure Concurrency goes with concurrency, every other measure with bucket or window',
};
const costRule: Rule = {
  rule:
    "(!has(self.bucket) || (self.measure == 'Cost' ? has(self.bucket.maxCost) && !has(self.bucket.maxTokens) : has(self.bucket.maxTokens) && !has(self.bucket.maxCost)))" +
    " && (!has(self.window) || (self.measure == 'Cost' ? has(self.window.maxCost) && !has(self.window.limit) : has(self.window.limit) && !has(self.window.maxCost)))",
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
    'One rule: what is counted (measure), how much of it may pass (bucket, window or concurrency), and whose it is (per).',
    { name: label('Name of the limit, unique in the object. Refusals, metrics and the status use it.') },
    {
      measure: withDefault(choice('What is counted.', MEASURES, rules.measure), 'Requests'),
      bucket: limitBucket,
      window: limitWindow,
      concurrency: integer('How many requests may run at a time, for the measure Concurrency.', 1, 1_000_000),
      per: list('Parts of the key of a bucket. None: one bucket for all callers.', keyPartSchema(rules.part), {
        max: 5,
      }),
      when: list('Conditions on the request, all must hold. None: every request.', matchSchema(rules), { max: 8 }),
      group: label('Of the limits that share a group only the first whose when holds applies: tiers.'),
      priority: withDefault(
        integer('Order in the group, higher first, then list order.', -2_147_483_648, 2_147_483_647),
        0,
      ),
      enforcement: enforcement('Overrides rateLimiting.enforcement for this limit.'),
      cost: amount('Units that a request takes, for the measure Requests; 1 when absent.', 1),
      cachedInputWeight: text('How much a cached input token counts, a decimal from "0" to "1"; "1" when absent.', {
        max: 11,
        pattern: '^(0(\\.[0-9]{1,9})?|1(\\.0{1,9})?)$',
      }),
      cutStreams: withDefault(flag('true: a limit of 0 or an exhausted one ends streams that run.'), false),
    },
    [exactlyOne(['bucket', 'window', 'concurrency']), concurrencyRule, costRule],
  );
}

/** One rule of an object. */
export type Limit = Infer<ReturnType<typeof limitSchema>>;

/** `Enforce` refuses, `Shadow` counts and reports only. */
export function enforcement(description: string) {
  return choice(`${description} Shadow: counted and reported, never refused.`, ['Enforce', 'Shadow']);
}
