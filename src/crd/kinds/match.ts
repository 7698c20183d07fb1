// CRD: `limits[].when[]` and `rules[].matches`, the conditions on a request.
import { choice, exactlyOne, flag, list, object, setOf, text } from '../schema.ts';
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
const present = flag('true: there with any value. false: absent.');

const headerMatch = object(
  'A condition on a request header. Exactly one of exact, prefix, regex or present is set.',
  { name: headerName('Name of the header, in any case.') },
  { exact, prefix, regex: regex('A regular expression for the value.'), present },
  [exactlyOne(['exact', 'prefix', 'regex', 'present'])],
);
export type HeaderMatch = Infer<typeof headerMatch>;

const queryMatch = object(
  'A condition on a query parameter. Exactly one of exact, prefix, regex or present is set.',
  { name: text('Name of the query parameter.', { max: 128 }) },
  { exact, prefix, regex: regex('A regular expression for the value.'), present },
  [exactlyOne(['exact', 'prefix', 'regex', 'present'])],
);

const claimMatch = object(
  'A condition on a JWT claim or an attribute. On a list it holds if an element matches.',
  { path: text('Path of the claim or attribute, like tier or org.team.', { max: 128 }) },
  { exact, regex: regex('A regular expression for the value.') },
  [exactlyOne(['exact', 'regex'])],
);

const pathMatch = object(
  'A condition on the path of the request. Exactly one of exact, prefix or regex is set.',
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
const methods = setOf('HTTP methods, one of which the request has.', choice('An HTTP method.', METHODS), {
  min: 1,
  max: METHODS.length,
});

const schedule = object(
  'Times of the week. With from later than to it spans midnight and belongs to the day it begins on.',
  {
    from: text('First minute, HH:MM.', { max: 5, pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$' }),
    to: text('The minute it ends at, HH:MM, or 24:00.', {
      max: 5,
      pattern: '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$',
    }),
  },
  {
    days: setOf(
      'Days of the week; absent: every day.',
      choice('A day of the week.', ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']),
      { min: 1, max: 7 },
    ),
    timeZone: timeZone(),
  },
);

function estimateSchema(measureRules: readonly Rule[]) {
  return object(
    'A condition on what the request is expected to use.',
    {
      measure: choice('What is estimated.', ['InputTokens', 'OutputTokens', 'TotalTokens'], measureRules),
      atLeast: amount('The condition holds from this estimate on.', 1),
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
    'One condition on a request. Exactly one condition is set.',
    {},
    {
      header: headerMatch,
      claim: claimMatch,
      path: pathMatch,
      method: methods,
      clientIP: setOf('CIDRs, one of which holds the address of the caller.', cidr(), { min: 1, max: 64 }),
      query: queryMatch,
      model: modelMatch,
      tool: toolMatch,
      application: setOf('Ids of applications.', text('Id of an application.', { max: 256 }), { min: 1, max: 64 }),
      user: setOf('Ids of users.', text('Id of a user.', { max: 256 }), { min: 1, max: 64 }),
      estimate: estimateSchema(rules.measure),
      schedule,
      not: flag('true: the condition must not hold.'),
    },
    [exactlyOne(MATCH_CONDITIONS), ...rules.match],
  );
}

/** One condition on a request. */
export type Match = Infer<ReturnType<typeof matchSchema>>;

/** The schema of `rules[].matches`: all that is set must hold. */
export const ruleMatches = object(
  'What a request must look like for the rule to take it. All that is set must hold; absent: every request.',
  {},
  {
    path: pathMatch,
    headers: list('Conditions on headers, all must hold.', headerMatch, { max: 8 }),
    methods,
  },
);
export type RuleMatches = Infer<typeof ruleMatches>;
