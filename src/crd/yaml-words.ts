// CRD: plain scalars of YAML that are not strings; in: a scalar, out: its value for the API server's YAML reader
// (go-yaml 2).
import type { ScalarTag, Tags } from 'yaml';

const TRUE = /^(?:y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const FALSE = /^(?:n|N|no|No|NO|false|False|FALSE|off|Off|OFF)$/;
const BASED = /^([-+]?)0([xX][0-9a-fA-F]+|[bB][01]+|[oO]?[0-7]+)$/;
const DECIMAL = /^[-+]?(?:0|[1-9][0-9]*)$/;
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;
/** The largest double that still fits 64 bits with a sign. */
const LAST_INT64_DOUBLE = 2 ** 63 - 1024;

/** The number that a word stands for; undefined: it is a string. Integers keep to 64 bits, if not exactly. */
export function numberOf(word: string): number | undefined {
  const plain = word.replaceAll('_', '');
  const integer = integerOf(plain);
  if (integer !== undefined && integer >= INT64_MIN && integer <= UINT64_MAX) {
    const isSigned = integer < 2n ** 63n;
    return isSigned ? Math.min(Number(integer), LAST_INT64_DOUBLE) : Number(integer);
  }
  const float = FLOAT.test(plain) ? Number(plain) : NaN;
  return Number.isFinite(float) ? float : undefined;
}

function integerOf(plain: string): bigint | undefined {
  if (DECIMAL.test(plain)) return BigInt(plain.replace(/^\+/, ''));
  const [, sign, digits] = BASED.exec(plain) ?? [];
  if (digits === undefined) return undefined;
  const magnitude = BigInt(/^[0-7]/.test(digits) ? `0o${digits}` : `0${digits.toLowerCase()}`);
  return sign === '-' ? -magnitude : magnitude;
}

const NAMESPACE = 'tag:yaml.org,2002:';

function word(name: string, test: RegExp, resolve: (text: string) => unknown): ScalarTag {
  return { tag: `${NAMESPACE}${name}`, default: true, test, resolve };
}

const numeric = (text: string) => numberOf(text) ?? text;

const WORDS: readonly ScalarTag[] = [
  word('null', /^(?:~|null|Null|NULL)?$/, () => null),
  word('bool', new RegExp(`${TRUE.source}|${FALSE.source}`), (text) => TRUE.test(text)),
  {
    ...word('float', /^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$/, numeric),
    resolve: (text, onError) => {
      if (!text.includes('.') || FLOAT.test(text)) return numeric(text);
      onError(`${text} is not a valid JSON number`);
      return text;
    },
  },
  word('int', /^[-+0-9.][-+0-9a-fA-FxXoO._]*$/, numeric),
  { tag: `${NAMESPACE}binary`, default: false, resolve: (text) => Buffer.from(text, 'base64').toString() },
];

const STRUCTURE = ['map', 'seq', 'str', 'merge'].map((name) => `${NAMESPACE}${name}`);

/** The tags to read with, from those that the YAML library would read with. */
export function wordTags(tags: Tags): Tags {
  const structure = tags.filter((tag) => typeof tag !== 'string' && STRUCTURE.includes(tag.tag));
  return [...structure, ...WORDS];
}
