// Limiter, limits stage: the facts of a request -> the limits that apply to it, groups resolved.
import type { Match, StringMatch } from '../../contract/limiter-config.ts';
import { compileCidrs, parseAddress } from '../../lib/values/address.ts';
import { plainText } from '../../lib/values/text.ts';
import { ConfigRejected } from '../config/config-rejected.ts';
import { canonicalModel } from '../request/model-request.ts';
import { headerSource, querySource, type Source } from '../request/one-value.ts';
import type { RequestFacts } from './decision.ts';
import type { LimitSet, RuntimeLimit } from '../compile/runtime-object.ts';
import { compilePath, compileText, compileValues } from '../compile/text-matcher.ts';

type Condition = (facts: RequestFacts) => boolean;

/**
 * Compiles the `when` of a limit: all must hold. `field` names it in messages: `limits[2].when`.
 * @throws ConfigRejected for a condition that this limiter cannot test.
 */
export function compileWhen(matches: readonly Match[], field: string): Condition {
  const conditions = matches.map((match, index) => {
    const at = `${field}[${index}]`;
    const holds = compileCondition(match, at);
    return match.not ? (facts: RequestFacts) => !holds(facts) : holds;
  });
  return (facts) => conditions.every((holds) => holds(facts));
}

/** What a condition reads of the request line and headers: it must have one value. */
export function sourcesOfMatch({ header, query }: Match): readonly Source[] {
  return [
    ...(header === undefined ? [] : [headerSource(header.name)]),
    ...(query === undefined ? [] : [querySource(query.name)]),
  ];
}

/**
 * The limits that apply, in list order. Of a group only the first applies whose `when` holds (higher priority first,
 * then list order). A Shadow limit does not take the place of an enforced one: where the first of a group is in
 * Shadow, the first enforced one whose `when` holds applies too, so that trying a tier out never switches enforcement
 * off.
 */
export function applicableLimits(set: LimitSet, facts: RequestFacts): readonly RuntimeLimit[] {
  const taken = new Map<string, 'shadow' | 'enforced'>();
  const chosen = new Set<number>();
  for (const index of set.order) {
    const limit = set.limits[index];
    if (limit !== undefined && takesPlace(limit, taken) && limit.applies(facts)) {
      chosen.add(index);
      const { group, enforcement } = limit.config;
      if (group !== undefined) taken.set(group, enforcement === 'Shadow' ? 'shadow' : 'enforced');
    }
  }
  return set.limits.filter((_limit, index) => chosen.has(index));
}

function takesPlace(limit: RuntimeLimit, taken: ReadonlyMap<string, 'shadow' | 'enforced'>): boolean {
  const { group, enforcement } = limit.config;
  if (group === undefined) return true;
  const holder = taken.get(group);
  return holder === undefined || (holder === 'shadow' && enforcement !== 'Shadow');
}

function compileCondition(match: Match, at: string): Condition {
  return (
    compileTextual(match, at) ??
    compileIdentity(match, at) ??
    compileList(match) ??
    reject(at, 'a known condition field')
  );
}

function compileTextual(match: Match, at: string): Condition | undefined {
  if (match.header !== undefined) {
    const name = match.header.name.toLowerCase();
    const test = compileValues(match.header, `${at}.header`);
    return (facts) => test(present(headerOf(facts.headers, name)));
  }
  if (match.query !== undefined) {
    const { name } = match.query;
    const test = compileValues(match.query, `${at}.query`);
    return (facts) => test(facts.query.getAll(name));
  }
  if (match.path !== undefined) {
    const test = compilePath(match.path, `${at}.path`);
    return (facts) => test(facts.upstreamPath);
  }
  return compileNamed(match, at);
}

function compileNamed(match: Match, at: string): Condition | undefined {
  for (const field of ['model', 'tool'] as const) {
    const condition = match[field];
    if (condition === undefined) continue;
    if (condition.present !== undefined) {
      const test = compileValues(condition, `${at}.${field}`);
      return (facts) => test(present(facts[field]));
    }
    const test = field === 'model' ? compileModel(condition, at) : compileText(condition, `${at}.${field}`);
    return (facts) => {
      const value = facts[field];
      return value !== undefined && test(value);
    };
  }
  return undefined;
}

/** A model is compared as routes compare it: `M` and `m:latest` are `m`. */
function compileModel(condition: StringMatch, at: string): (value: string) => boolean {
  const { exact, prefix } = condition;
  const wanted = {
    ...condition,
    ...(exact === undefined ? {} : { exact: canonicalModel(exact) }),
    ...(prefix === undefined ? {} : { prefix: prefix.toLowerCase() }),
  };
  const test = compileText(wanted, `${at}.model`);
  return (value) => test(condition.regex === undefined ? canonicalModel(value) : value);
}

function compileIdentity(match: Match, at: string): Condition | undefined {
  if (match.claim !== undefined) {
    const { name } = match.claim;
    const test = compileValues(match.claim, `${at}.claim`);
    return (facts) => test(claimValues(facts.identity.attributes, name));
  }
  if (match.clientIP !== undefined) {
    const compiled = compileCidrs(match.clientIP);
    if ('bad' in compiled) return reject(`${at}.clientIP`, `CIDRs: "${compiled.bad}" is not one`);
    return (facts) => {
      const address = parseAddress(facts.identity.clientAddress);
      return address !== undefined && compiled.set.has(address);
    };
  }
  return undefined;
}

function compileList(match: Match): Condition | undefined {
  const { method, application, user } = match;
  if (method !== undefined) {
    const methods = new Set(method.map((name) => name.toUpperCase()));
    return (facts) => methods.has(facts.method.toUpperCase());
  }
  if (application !== undefined) {
    const names = new Set(application.map(plainText));
    return ({ identity }) => identity.application !== undefined && names.has(plainText(identity.application));
  }
  if (user !== undefined) {
    const names = new Set(user.map(plainText));
    return ({ identity }) => identity.user !== undefined && names.has(plainText(identity.user));
  }
  return undefined;
}

/**
 * The scalar values at a dotted path of the caller's attributes: one for a scalar, the elements for a list, none when
 * absent. An attribute whose own name is the whole path comes first.
 */
export function claimValues(attributes: Readonly<Record<string, unknown>>, path: string): readonly string[] {
  const value = claimAt(attributes, path);
  return (Array.isArray(value) ? (value as readonly unknown[]) : [value]).flatMap(scalarText);
}

/** The raw value at a dotted path; undefined when absent. Only own members are seen. */
export function claimAt(attributes: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(attributes, path)) return attributes[path];
  let value: unknown = attributes;
  for (const step of path.split('.')) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, step)) {
      return undefined;
    }
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

/** A scalar as text; nothing for null, objects and the empty text. */
export function scalarText(value: unknown): readonly string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint' ? [String(value)] : [];
}

/** A header of a request (name in lower case); undefined when absent. Only own members are seen. */
export function headerOf(headers: RequestFacts['headers'], name: string): string | undefined {
  return Object.hasOwn(headers, name) ? headers[name] : undefined;
}

function present(value: string | undefined): readonly string[] {
  return value === undefined ? [] : [value];
}

function reject(at: string, needs: string): never {
  throw new ConfigRejected(`${at} needs ${needs}`);
}
