// Contract: the one table of what can be counted. Every map of measures (capabilities, schemas, messages, headers)
// reads it, so that a measure is added, or switched on, in one place.

export type Measure = 'Requests' | 'InputTokens' | 'OutputTokens' | 'TotalTokens' | 'Cost' | 'Concurrency';

/** What one measure is, for both planes. */
export interface MeasureFacts {
  /** The id in capabilities.ts; derived from nothing. */
  readonly capability: string;
  /** false: the API accepts it, no limiter enforces it yet. */
  readonly enforced: boolean;
  /** One unit and several of them, in messages: `1 request`, `5 requests`. */
  readonly nouns: readonly [one: string, many: string];
  /** What the header families call it: `x-ratelimit-limit-<unit>`. Absent: the family has no name for it. */
  readonly headerUnit: { readonly OpenAI?: string; readonly Anthropic?: string };
  /** The OpenAI `type` of a 429. */
  readonly errorType: 'requests' | 'tokens';
  /**
   * When the true amount is known. arrival: with the request. answer: with the answer's `usage`, until then an
   * estimate is reserved. held: a slot that is taken until the request ends.
   */
  readonly known: 'arrival' | 'answer' | 'held';
  /** Decimal places of an amount as users write it: what is counted is in units of 10^-scale. */
  readonly scale: number;
  /** Fields of a limit, below it, that only a limit of this measure has. */
  readonly amountFields: readonly string[];
  /** A number of tokens: no such thing in an MCP call. */
  readonly isTokens: boolean;
}

const NO_UNIT: MeasureFacts['headerUnit'] = {};

/** In the order in which the API lists them. */
export const MEASURES: Readonly<Record<Measure, MeasureFacts>> = {
  Requests: {
    capability: 'measure.requests',
    enforced: true,
    nouns: ['request', 'requests'],
    headerUnit: { OpenAI: 'requests', Anthropic: 'requests' },
    errorType: 'requests',
    known: 'arrival',
    scale: 0,
    amountFields: [],
    isTokens: false,
  },
  InputTokens: tokens('measure.input-tokens', 'input-tokens'),
  OutputTokens: tokens('measure.output-tokens', 'output-tokens'),
  TotalTokens: tokens('measure.total-tokens', 'tokens'),
  Cost: {
    capability: 'measure.cost',
    enforced: false,
    nouns: ['unit of cost', 'units of cost'],
    headerUnit: NO_UNIT,
    errorType: 'tokens',
    known: 'answer',
    scale: 9,
    amountFields: ['bucket.maxCost', 'window.maxCost'],
    isTokens: false,
  },
  Concurrency: {
    capability: 'measure.concurrency',
    enforced: false,
    nouns: ['request at a time', 'requests at a time'],
    headerUnit: NO_UNIT,
    errorType: 'requests',
    known: 'held',
    scale: 0,
    amountFields: [],
    isTokens: false,
  },
};

/** The names, in the order of the table. */
export const MEASURE_NAMES = Object.keys(MEASURES) as Measure[];

/** The measures that count tokens. */
export const TOKEN_MEASURES = MEASURE_NAMES.filter((name) => MEASURES[name].isTokens);

/** Whether a text names a measure. */
export function isMeasure(name: string): name is Measure {
  return Object.hasOwn(MEASURES, name);
}

/** `5 requests`, `1 token`: an amount in words. */
export function countedText(amount: number, measure: Measure): string {
  const [one, many] = MEASURES[measure].nouns;
  return `${amount} ${amount === 1 ? one : many}`;
}

function tokens(capability: string, anthropic: string): MeasureFacts {
  return {
    capability,
    enforced: false,
    nouns: ['token', 'tokens'],
    headerUnit: { OpenAI: 'tokens', Anthropic: anthropic },
    errorType: 'tokens',
    known: 'answer',
    scale: 0,
    amountFields: [],
    isTokens: true,
  };
}
