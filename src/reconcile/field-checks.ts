// Reconcile, validate: checks of single values that schema and CEL cannot do. Input: a text of the spec; output: what
// is wrong with it, or nothing.
import ipaddr from 'ipaddr.js';
import { RE2JS } from 're2js';
import { messageOf } from '../lib/thrown.ts';

/** What is wrong with a value and how to correct it; undefined: nothing. */
export type FieldCheck = (text: string) => string | undefined;

/** Instructions of a compiled expression; the time per character of a request grows with them. */
const MAX_PROGRAM = 4_000;

/** RE2: an expression that would not run in linear time does not compile. */
export const checkRegex: FieldCheck = (text) => {
  try {
    const size = RE2JS.compile(text).programSize();
    return size <= MAX_PROGRAM
      ? undefined
      : `${quote(text)} compiles to a program that is too large: use smaller repetition counts`;
  } catch (error) {
    return `${quote(text)} is not a valid regular expression (RE2): ${messageOf(error)}`;
  }
};

/** A CIDR, or a plain address. */
export const checkCidr: FieldCheck = (text) => {
  const [address = '', prefix, ...rest] = text.split('/');
  const bits = bitsOf(address);
  const isGood = bits !== undefined && rest.length === 0 && (prefix === undefined || isPrefix(prefix, bits));
  return isGood ? undefined : `${quote(text)} is not a valid CIDR: write it like 10.0.0.0/8 or 2001:db8::/32`;
};

function bitsOf(address: string): 32 | 128 | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return 32;
  return ipaddr.IPv6.isValid(address) && !address.includes('%') ? 128 : undefined;
}

function isPrefix(text: string, bits: number): boolean {
  return /^[0-9]{1,3}$/.test(text) && Number(text) <= bits;
}

/** Zones that are known to be valid: finding out takes longer than all other checks of an object. */
const knownZones = new Set<string>();
const MOST_KNOWN_ZONES = 1_000;

/** A name of the IANA database. An offset like +02:00 is invalid, because it has no daylight saving. */
export const checkTimeZone: FieldCheck = (text) => {
  const problem = `${quote(text)} is not a known time zone: use an IANA name like Europe/Berlin`;
  if (!/^[A-Za-z]/.test(text)) return problem;
  if (knownZones.has(text)) return undefined;
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    if (knownZones.size < MOST_KNOWN_ZONES) knownZones.add(text);
    return undefined;
  } catch {
    return problem;
  }
};

/** A URL that can be dialled. */
export const checkUrl: FieldCheck = (text) => {
  const url = URL.parse(text);
  if (url === null) return `${quote(text)} is not a valid URL`;
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (isPlain && (url.protocol === 'http:' || url.protocol === 'https:')) return undefined;
  return 'must be an http or https URL without user, password, query or fragment';
};

/** `host:port` with a port that exists. */
export const checkAddress: FieldCheck = (text) => {
  const port = Number(text.slice(text.lastIndexOf(':') + 1));
  return port >= 1 && port <= 65_535 ? undefined : `${quote(text)} has no valid port: use a number from 1 to 65535`;
};

/** A path without malformed escapes and without characters that servers read differently. */
export const checkPath: FieldCheck = (text) => {
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return `${quote(text)} is not a valid path: write % as %25`;
  if (text.endsWith('*'))
    return `${quote(text)}: wildcards are not supported in paths: use prefix without the "*", or regex`;
  const isPlain = !/[\p{Cc}\\]|%(?:[01][0-9a-f]|7f|5c)/iu.test(text);
  return isPlain
    ? undefined
    : `${quote(text)} can never match: requests with control characters or backslashes in the path are refused`;
};

/** The model of a route: a name that requests can say, or the star that stands for every model. */
export const checkModelName: FieldCheck = (text) => (text === '*' ? undefined : checkAdapterName(text));

/** A name that requests can say: one with a star was meant for many, and would be in force for none. */
export const checkAdapterName: FieldCheck = (text) => {
  if (text.trim() === '') return `${quote(text)} is blank: a request without a name names no model`;
  if (!text.includes('*')) return undefined;
  return `${quote(text)}: a model name has no wildcards: name each model, or set modelName to "*" alone for every model`;
};

/** A prefix that a normalised path can begin with, in its one spelling: objects are compared by it. */
export const checkPathPrefix: FieldCheck = (text) => {
  const problem = checkPath(text);
  if (problem !== undefined) return problem;
  const isNormal = !text.includes('//') && text.split('/').every((segment) => !/^\.{1,2}(;|$)/.test(segment));
  if (!isNormal) return `${quote(text)} can never match: write it without "//", "." and ".." segments`;
  const needless = [...text.matchAll(/%[0-9a-f]{2}/gi)].map(([escape]) => escape).find(isNeedless);
  return needless === undefined ? undefined : `${quote(text)}: write "${needless}" as ${quote(spelling(needless))}`;
};

/** Whether an escape stands for a character that paths hold literally, or is not in upper case. */
function isNeedless(escape: string): boolean {
  return spelling(escape) !== escape;
}

function spelling(escape: string): string {
  const character = String.fromCharCode(parseInt(escape.slice(1), 16));
  return /^[-A-Za-z0-9._~!$&'()*+,;=:@/]$/.test(character) ? character : escape.toUpperCase();
}

function quote(text: string): string {
  return JSON.stringify(text);
}
