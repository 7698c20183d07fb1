// Limiter, keys stage: limit + facts -> the key of its bucket. Layout (docs/adr has the why):
// weir:{<namespace>}:<kind>:<uid>:<limit>:<fingerprint>[:<caller>]
import { hash } from 'node:crypto';
import type { KeyPart, LimitConfig, ObjectRef } from '../../contract/limiter-config.ts';
import { maskedAddress, parseAddress } from '../../lib/values/address.ts';
import { plainText } from '../../lib/values/text.ts';
import { headerSource, querySource, type Source } from '../request/one-value.ts';
import type { RequestFacts } from './decision.ts';
import { claimAt, headerOf, scalarText } from './match.ts';
import type { RuntimeLimit } from '../compile/runtime-object.ts';

/** Bytes of SHA-256 that are kept of a caller: 128 bits, so two callers never meet by chance. */
const CALLER_BASE64_LENGTH = 22;
const FINGERPRINT_LENGTH = 16;
/** A tool's name is whatever a call says. A model's is one that the route has, unless the route takes every model. */
const CALLER_CHOSEN = new Set<KeyPart['type']>(['header', 'query', 'clientIP', 'session', 'tool']);

/**
 * The caller-independent part of a bucket's key. The fingerprint covers what a bucket is about: measure, kind of rule,
 * the window's period and zone, and the key parts. A change of one of these starts a new bucket; a change of amounts,
 * of `when`, group, priority, cost or policy does not.
 */
export function bucketKeyPrefix(object: ObjectRef & { readonly uid: string }, limit: LimitConfig): string {
  const { rule } = limit;
  const about = [
    limit.measure,
    rule.kind,
    rule.kind === 'window' ? rule.period : '',
    rule.kind === 'window' ? rule.timeZone : '',
    ...limit.per.flatMap(partIdentity),
  ];
  const fingerprint = hash('sha256', lengthPrefixed(about), 'hex').slice(0, FINGERPRINT_LENGTH);
  // Objects from files have no uid: their name stands in, marked by a character that no uid has.
  const identity = object.uid === '' ? `/${object.name}` : object.uid;
  const names = [object.kind, identity, limit.name].map(plainName).join(':');
  return `weir:{${object.namespace}}:${names}:${fingerprint}`;
}

/**
 * The key of the bucket that a request takes from, or undefined when a part with `whenAbsent: Skip` is absent: the
 * limit does not apply then. Caller parts are length-prefixed and hashed together: no value is readable in the key,
 * and `a` + `b:c` is not `a:b` + `c`. An absent part is marked as absent before the hash, so a caller who is named
 * like the fallback text does not share the bucket of the callers without a name.
 */
export function bucketKey(limit: RuntimeLimit, facts: RequestFacts): string | undefined {
  const { per } = limit.config;
  if (per.length === 0) return limit.keyPrefix;
  const texts: string[] = [limit.keyPrefix];
  for (const part of per) {
    const values = partValues(part, facts);
    if (values.length === 0 && part.whenAbsent === 'Skip') return undefined;
    if (values.length === 0) texts.push('absent', part.fallback ?? '');
    else texts.push(`present/${values.length}`, ...values);
  }
  return `${limit.keyPrefix}:${hash('sha256', lengthPrefixed(texts), 'base64url').slice(0, CALLER_BASE64_LENGTH)}`;
}

/** Whether a caller can choose the part's value freely, and so mint buckets at will. */
export function isCallerChosen(part: KeyPart, takesEveryModel: boolean): boolean {
  return CALLER_CHOSEN.has(part.type) || (takesEveryModel && part.type === 'model');
}

/** What a part reads of the request line and headers: it must have one value. */
export function sourceOfPart({ type, name = '' }: KeyPart): readonly Source[] {
  if (type === 'header') return [headerSource(name)];
  if (type === 'query') return [querySource(name)];
  return type === 'session' ? [headerSource('mcp-session-id')] : [];
}

type ReadPart = (part: KeyPart, facts: RequestFacts) => string | undefined;

const READERS: Readonly<Record<KeyPart['type'], ReadPart>> = {
  user: (_part, facts) => facts.identity.user,
  application: (_part, facts) => facts.identity.application,
  claim: (part, facts) => scalarText(claimAt(facts.identity.attributes, part.name ?? ''))[0],
  header: (part, facts) => headerOf(facts.headers, (part.name ?? '').toLowerCase())?.trim(),
  query: (part, facts) => facts.query.get(part.name ?? '') ?? undefined,
  clientIP: clientNetwork,
  model: (_part, facts) => facts.model,
  tool: (_part, facts) => facts.tool,
  session: (_part, facts) => facts.session,
  constant: (part) => part.value,
};

/**
 * The value of a part, none when it is absent. Empty texts are absent, and so are lists and objects of a claim. Headers
 * and query names that are given several times do not come here: routing refuses the request (sourceOfPart).
 */
function partValues(part: KeyPart, facts: RequestFacts): readonly string[] {
  const value = READERS[part.type](part, facts);
  return value === undefined || value === '' ? [] : [plainText(value)];
}

function clientNetwork(part: KeyPart, facts: RequestFacts): string | undefined {
  const address = parseAddress(facts.identity.clientAddress);
  return address === undefined ? undefined : maskedAddress(address, part.prefixV4 ?? 32, part.prefixV6 ?? 64);
}

/** What makes a part another part. Fallback and whenAbsent are left out: they move callers, not buckets. */
function partIdentity(part: KeyPart): readonly string[] {
  const prefixes = part.type === 'clientIP' ? `${part.prefixV4 ?? 32}/${part.prefixV6 ?? 64}` : '';
  return [part.type, part.name ?? '', part.value ?? '', prefixes];
}

/** `3:abc1:x`: unambiguous whatever the texts hold. Lengths are in UTF-16 units. */
function lengthPrefixed(texts: readonly string[]): string {
  return texts.map((text) => `${text.length}:${text}`).join('');
}

/** A name as it stands in a key: letters, digits and `-_./`; everything else is escaped, so ":" and "{" only divide. */
function plainName(name: string): string {
  return name.replace(/[^A-Za-z0-9\-_./]/gu, (character) => `%${Buffer.from(character).toString('hex').toUpperCase()}`);
}
