// Reconcile, compile: conditions on a request (`when`, `rules[].matches`) as written -> as a limiter evaluates them.
import type { Match, NamedMatch, StringMatch } from '../../contract/limiter-config.ts';
import type { HeaderMatch, MatchSpec as MatchSpec } from '../../crd/kinds/match.ts';
import { given, optional } from '../optional.ts';

interface Comparison {
  readonly exact?: string;
  readonly prefix?: string;
  readonly regex?: string;
  readonly present?: boolean;
}

/** The part of a condition that compares texts. */
export function stringMatch(spec: Comparison): StringMatch {
  return {
    ...given('exact', spec.exact),
    ...given('prefix', spec.prefix),
    ...given('regex', spec.regex),
    ...given('present', spec.present),
  };
}

/** A condition on a header; its name in lower case, as limiters hold header names. */
export function headerMatch(spec: HeaderMatch): NamedMatch {
  return { name: spec.name.toLowerCase(), ...stringMatch(spec) };
}

/** A CIDR; a plain address is the CIDR that holds it alone. */
export function asCidr(text: string): string {
  if (text.includes('/')) return text;
  return `${text}/${text.includes(':') ? '128' : '32'}`;
}

/** One element of `when`. Conditions that no limiter enforces yet were refused before this (NotSupported). */
export function compileMatch(spec: MatchSpec): Match {
  return {
    not: spec.not === true,
    ...optional('header', spec.header, headerMatch),
    ...optional('query', spec.query, (query) => ({ name: query.name, ...stringMatch(query) })),
    ...optional('claim', spec.claim, (claim) => ({ name: claim.path, ...stringMatch(claim) })),
    ...optional('path', spec.path, stringMatch),
    ...given('method', spec.method),
    ...optional('model', spec.model, stringMatch),
    ...optional('tool', spec.tool, stringMatch),
    ...optional('clientIP', spec.clientIP, (cidrs) => cidrs.map(asCidr)),
    ...given('application', spec.application),
    ...given('user', spec.user),
  };
}
