// Limiter, compile: one condition on a text (exact, prefix, RE2, presence) -> a test. Input: StringMatch of the
// contract.
import { RE2JS } from 're2js';
import type { StringMatch } from '../../contract/limiter-config.ts';
import { ConfigRejected } from '../config/config-rejected.ts';
import { canonicalText, pathForms } from '../../lib/values/path.ts';
import { plainText } from '../../lib/values/text.ts';

/** Tests the values that a request has for one thing; none at all when it is absent. */
export type ValuesTest = (values: readonly string[]) => boolean;

/**
 * Compiles a condition. It holds when one of the values holds; `present: false` holds when there is none. `field` names
 * the place in messages: `limits[0].when[1].header`. Regular expressions run in linear time and match the whole value.
 * @throws ConfigRejected when the condition is empty or its regular expression is not RE2.
 */
export function compileValues(match: StringMatch, field: string): ValuesTest {
  if (match.present !== undefined) {
    const wanted = match.present;
    return (values) => values.length > 0 === wanted;
  }
  const test = compileText(match, field);
  return (values) => values.some(test);
}

/**
 * The same for one text. Texts of manifest and caller are compared in one form (lib/text); expressions stay as
 * written.
 */
export function compileText(match: StringMatch, field: string): (value: string) => boolean {
  const { exact, prefix, regex } = match;
  if (exact !== undefined) return equals(plainText(exact));
  if (prefix !== undefined) return startsWith(plainText(prefix));
  if (regex !== undefined) return compileRegex(regex, field);
  throw new ConfigRejected(`${field} has no condition that this limiter knows: set exact, prefix, regex or present`);
}

function equals(wanted: string): (value: string) => boolean {
  return (value) => plainText(value) === wanted;
}

function startsWith(wanted: string): (value: string) => boolean {
  return (value) => plainText(value).startsWith(wanted);
}

/**
 * The same for a path in its normal form. `exact` and `prefix` are brought to that form too, and a slash at the end
 * makes no difference to any of the three.
 */
export function compilePath(match: StringMatch, field: string): (path: string) => boolean {
  const canonical = canonicalMatch(match, field);
  if (canonical.exact !== undefined) {
    const [exact] = pathForms(canonical.exact);
    return (path) => pathForms(path)[0] === exact;
  }
  const test = compileText(canonical, field);
  return (path) => pathForms(path).some(test);
}

function canonicalMatch(match: StringMatch, field: string): StringMatch {
  if (match.present !== undefined) {
    throw new ConfigRejected(`${field}.present does not apply to a path: set exact, prefix or regex`);
  }
  if (match.exact !== undefined) return { exact: canonicalPath(match.exact, `${field}.exact`) };
  if (match.prefix !== undefined) return { prefix: canonicalPath(match.prefix, `${field}.prefix`) };
  return match;
}

function canonicalPath(path: string, field: string): string {
  const canonical = canonicalText(path);
  if (canonical === undefined) throw new ConfigRejected(`${field} "${path}" is not a path: write % as %25`);
  return canonical;
}

function compileRegex(source: string, field: string): (value: string) => boolean {
  try {
    const compiled = RE2JS.compile(source);
    return (value) => compiled.matches(plainText(value));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigRejected(`${field}.regex "${source}" is not an RE2 expression: ${reason}`);
  }
}
