// Limiter, request stage: a media type or a disposition with its parameters (RFC 9110, 5.6.6 and 8.3.1), to the
// letter. In: the text of a header; out: its parts, or undefined where readers could differ. Linear in the text.

/** `text/plain; charset=utf-8`: names in lower case, values without their quotes. */
export interface ParameterisedValue {
  /** Lower case. */
  readonly value: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** The Content-Type of a request. */
export type MediaType =
  | { readonly kind: 'absent' }
  | ({ readonly kind: 'valid' } & ParameterisedValue)
  | { readonly kind: 'invalid'; readonly problem: string };

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const MEDIA_TYPE = new RegExp(`${TOKEN}/${TOKEN}`, 'y');
const WORD = new RegExp(TOKEN, 'y');
/** A backslash before a quote is left out: readers differ in whether the text goes on behind it. */
const QUOTED = '"((?:[\\t\\x20\\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\uffff]|\\\\(?!"))*)"';
const PARAMETER = new RegExp(`[\\t ]*;[\\t ]*(?:(${TOKEN})=(?:(${TOKEN})|${QUOTED}))?`, 'y');
const UTF8_NAMES: ReadonlySet<string> = new Set(['utf-8', 'utf8']);

/** The Content-Type of a message. @param rawHeaders name, value, name, value … as they came */
export function mediaTypeOf(rawHeaders: readonly string[]): MediaType {
  const values = rawHeaders.filter(
    (_value, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'content-type',
  );
  const [text = ''] = values;
  if (values.length > 1) return { kind: 'invalid', problem: 'the request has more than one Content-Type' };
  if (text === '') return { kind: 'absent' };
  const read = readMediaType(text);
  if (read === undefined) return { kind: 'invalid', problem: 'the Content-Type is malformed' };
  return { kind: 'valid', ...read };
}

/** `type/subtype` with parameters. @returns undefined for what is malformed, or names a parameter twice */
export function readMediaType(text: string): ParameterisedValue | undefined {
  return read(text, MEDIA_TYPE);
}

/** A token with parameters: Content-Disposition. @returns as {@link readMediaType} does */
export function readDisposition(text: string): ParameterisedValue | undefined {
  return read(text, WORD);
}

function read(text: string, beginning: RegExp): ParameterisedValue | undefined {
  beginning.lastIndex = 0;
  const value = beginning.exec(text)?.[0];
  const parameters = value === undefined ? undefined : readParameters(text, value.length);
  return value === undefined || parameters === undefined ? undefined : { value: value.toLowerCase(), parameters };
}

function readParameters(text: string, from: number): ReadonlyMap<string, string> | undefined {
  const parameters = new Map<string, string>();
  let at = from;
  while (at < text.length) {
    PARAMETER.lastIndex = at;
    const found = PARAMETER.exec(text);
    if (found === null) return /^[\t ]*$/.test(text.slice(at)) ? parameters : undefined;
    at = PARAMETER.lastIndex;
    const name = found[1]?.toLowerCase();
    if (name === undefined) continue;
    if (parameters.has(name)) return undefined;
    parameters.set(name, found[2] ?? found[3] ?? '');
  }
  return parameters;
}

/**
 * Why a body under this media type may be read in another charset than UTF-8; undefined: nothing says so. Extended
 * parameters (RFC 2231, `charset*=`) count: some readers take them.
 */
export function charsetProblem(media: MediaType): string | undefined {
  if (media.kind === 'absent') return undefined;
  if (media.kind === 'invalid') return `${media.problem}: write application/json`;
  for (const [name, value] of media.parameters) {
    const isCharset = name === 'charset' || name.startsWith('charset*');
    if (isCharset && !(name === 'charset' && UTF8_NAMES.has(value.toLowerCase()))) {
      return `the Content-Type names a charset that is not UTF-8: ${JSON.stringify(`${name}=${value}`)}`;
    }
  }
  return undefined;
}

/** JSON of which no byte needs to look like JSON in UTF-8; also under a Content-Type that cannot be read. */
export function isJsonInAnotherCharset(media: MediaType): boolean {
  return media.kind === 'invalid' || (isJsonType(media) && charsetProblem(media) !== undefined);
}

/** application/json, text/json, and everything ending in +json. */
export function isJsonType(media: MediaType): boolean {
  return media.kind === 'valid' && /^(?:application|text)\/json$|\+json$/.test(media.value);
}
