// CRD: `limits[].when[]` and `rules[].matches`, the conditions on a request.
import { TOKEN_MEASURES } from '../../contract/measures.ts';
import { DEFAULTS } from '../defaults.ts';
import { choice, exactlyOne, flag, list, object, setOf, text, withDefault, withDefaultWords } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { amount, cidr, headerName, regex, timeZone } from './values.ts';

/** Exactly one of these is set in a match. */
export const MATCH_CONDITIONS = [
  'header',
  'claim',
  'path',
  'method',
  'clientIP',
  'query',
  'model',
  'tool',
  'application',
  'user',
  'estimate',
  'schedule',
] as const;

const MAX_VALUE = 512;
const exact = text('The whole text.', { min: 0, max: MAX_VALUE });
const prefix = text('The beginning of the text.', { max: MAX_VALUE });
const present = flag('true: present with any value. false: absent.');

const headerMatch = object(
  'A condition on a request header. Set exactly one of exact, prefix, regex or present.',
  { name: headerName('Name of the header; case does not matter.') },
  { exact, prefix, regex: regex('A regular expression for the value.'), present },
  [exactlyOne(['exact', 'prefix', 'regex', 'present'])],
);
export type HeaderMatch = Infer<typeof headerMatch>;

const queryMatch = object(
  'A condition on a query parameter. Set exactly one of exact, prefix, regex or present.',
  { name: text('Name of the query parameter.', { max: 128 }) },
  { exact, prefix, regex: regex('A regular expression for the value.'), present },
  [exactlyOne(['exact', 'prefix', 'regex', 'present'])],
);

const claimMatch = object(
  'A condition on a JWT claim or attribute. On a list it holds if one element matches.',
  { path: text('Path of the claim or attribute, like tier or org.team.', { max: 128 }) },
  { exact, regex: regex('A regular expression for the value.') },
  [exactlyOne(['exact', 'regex'])],
);

const pathMatch = object(
  'A condition on the path of the request. Set exactly one of exact, prefix or regex.',
  {},
  { exact, prefix, regex: regex('A regular expression for the path.') },
  [exactlyOne(['exact', 'prefix', 'regex'])],
);
export type PathMatch = Infer<typeof pathMatch>;

const modelMatch = object('A condition on the model that the request names.', {}, { exact, prefix }, [
  exactlyOne(['exact', 'prefix']),
]);
const toolMatch = object('A condition on the MCP tool that the request calls.', {}, { exact, prefix }, [
  exactlyOne(['exact', 'prefix']),
]);

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE'] as const;
const methods = setOf('HTTP methods; the request must use one of them.', choice('An HTTP method.', METHODS), {
  min: 1,
  max: METHODS.length,
});

const schedule = object(
  'Times of the week. If from is later than to, the period spans midnight and belongs to the day on which it begins.',
  {
    from: text('Start, as HH:MM.', { max: 5, pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$' }),
    to: text('End (exclusive), as HH:MM or 24:00.', {
      max: 5,
      pattern: '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$',
    }),
  },
  {
    days: withDefaultWords(
      setOf('Days of the week.', choice('A day of the week.', ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']), {
        min: 1,
        max: 7,
      }),
      'every day',
    ),
    timeZone: timeZone(),
  },
);

function estimateSchema(measureRules: readonly Rule[]) {
  return object(
    'A condition on the estimated use of the request.',
    {
      measure: choice('What is estimated.', TOKEN_MEASURES, measureRules),
      atLeast: amount('The condition holds if the estimate is at least this.', 1),
    },
    {},
  );
}

/** Rules of the kind in which a match is used. */
export interface MatchRules {
  readonly match: readonly Rule[];
  readonly measure: readonly Rule[];
}

/** The schema of an element of `limits[].when`. */
export function matchSchema(rules: MatchRules) {
  return object(
    'One condition on a request. Set exactly one, and not to invert it.',
    {},
    {
      header: headerMatch,
      claim: claimMatch,
      path: pathMatch,
      method: methods,
      clientIP: setOf('CIDRs; the address of the caller must be in one of them.', cidr(), { min: 1, max: 64 }),
      query: queryMatch,
      model: modelMatch,
      tool: toolMatch,
      application: setOf('Ids of applications.', text('Id of an application.', { max: 256 }), { min: 1, max: 64 }),
      user: setOf('Ids of users.', text('Id of a user.', { max: 256 }), { min: 1, max: 64 }),
      estimate: estimateSchema(rules.measure),
      schedule,
      not: withDefault(flag('true: the condition must not hold.'), DEFAULTS.match.not),
    },
    [exactlyOne(MATCH_CONDITIONS), ...rules.match],
  );
}

/** One condition on a request. */
export type MatchSpec = Infer<ReturnType<typeof matchSchema>>;

/** The schema of `rules[].matches`: all that is set must hold. */
export const ruleMatches = object(
  'Conditions on a request; all must hold. Without any, the rule takes every request.',
  {},
  {
    path: pathMatch,
    headers: list('Conditions on headers; all must hold.', headerMatch, { max: 8 }),
    methods,
  },
);
export type RuleMatches = Infer<typeof ruleMatches>;
