// Limiter, request stage: one text field of an upload (multipart/form-data, RFC 7578 and RFC 2046, to the letter).
// In: bytes and Content-Type; out: the field, or why readers of forms could differ. Files are passed over, never
// copied.
import { nextTurn } from '../../lib/turns.ts';
import { ByteSearch } from './byte-search.ts';
import { FieldCollector, resembles, utf8Of, type FormField } from './form-field.ts';
import { readDisposition, readMediaType, charsetProblem, type ParameterisedValue } from './media-type.ts';

/** RFC 2046: bcharsnospace, and spaces but not at the end; "boundary=" in it would be one for a careless reader. */
const BOUNDARY = /^(?!.*boundary=)[0-9A-Za-z'()+_,./:=?\- ]{0,69}[0-9A-Za-z'()+_,./:=?-]$/i;
const MAX_HEAD_BYTES = 8 * 1024;
const MAX_PARTS = 1000;
/** Searched in one turn of the event loop. */
const SLICE_BYTES = 1024 * 1024;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** No control characters, a lone CR or LF among them. */
const HEADER_LINE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** A name, to whoever looks for one without regard to quotes. */
const NAME_WITHIN = /(?:^|[;\s])name\*?\s*=/i;
/** Content-Transfer-Encoding that changes nothing. */
const IDENTITY_ENCODINGS: ReadonlySet<string> = new Set(['7bit', '8bit', 'binary']);

/** Why a form is refused. */
class Malformed extends Error {}

/**
 * Reads the field `name` (lower case). A form is refused unless it is one boundary, no preamble or epilogue, and
 * parts with plain heads; a field of that name, or of one that resembles it, must be there once, as a text in UTF-8.
 */
export async function multipartField(bytes: Buffer, media: ParameterisedValue, name: string): Promise<FormField> {
  const collector = new FieldCollector(name);
  try {
    const boundary = boundaryOf(media);
    await eachPart(bytes, Buffer.from(`--${boundary}`), (head, content) => {
      takePart(head, content, collector);
    });
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { kind: 'problem', problem: `the form is malformed: ${error.message}` };
  }
  return collector.field;
}

function boundaryOf({ value, parameters }: ParameterisedValue): string {
  if (value !== 'multipart/form-data') throw new Malformed(`its Content-Type is ${value}`);
  for (const parameter of parameters.keys()) {
    if (parameter !== 'boundary' && parameter !== 'charset') {
      throw new Malformed(`its Content-Type has the parameter ${JSON.stringify(parameter)}`);
    }
  }
  const boundary = parameters.get('boundary');
  if (boundary === undefined || !BOUNDARY.test(boundary)) throw new Malformed('its Content-Type has no valid boundary');
  return boundary;
}

async function eachPart(
  bytes: Buffer,
  delimiter: Buffer,
  onPart: (head: string, content: Buffer) => void,
): Promise<void> {
  const search = new ByteSearch(bytes, delimiter);
  const next = async (): Promise<number> => {
    while (!search.advance(SLICE_BYTES)) await nextTurn();
    return search.found;
  };
  if ((await next()) !== 0) throw new Malformed('it does not begin with its boundary');
  let start = lineEnd(bytes, delimiter.length);
  for (let parts = 0; start !== 'close'; parts += 1) {
    if (parts === MAX_PARTS) throw new Malformed(`it has more than ${MAX_PARTS} parts`);
    const headEnd = bytes.subarray(start, start + MAX_HEAD_BYTES).indexOf('\r\n\r\n');
    if (headEnd < 0) throw new Malformed('the headers of a part do not end');
    const end = await next();
    const contentStart = start + headEnd + 4;
    // Also within a head or a line: readers differ in where they look for it.
    if (end < contentStart + 2 || bytes[end - 2] !== 0x0d || bytes[end - 1] !== 0x0a) {
      throw new Malformed(end < 0 ? 'its last boundary is missing' : 'a boundary is not at the beginning of a line');
    }
    onPart(bytes.toString('latin1', start, start + headEnd), bytes.subarray(contentStart, end - 2));
    start = lineEnd(bytes, end + delimiter.length);
  }
}

/** What stands behind a delimiter: the place where a part begins, or `close` for the end of the form. */
function lineEnd(bytes: Buffer, at: number): number | 'close' {
  const rest = bytes.toString('latin1', at, at + 5);
  if (rest.startsWith('\r\n')) return at + 2;
  if (rest === '--' || rest === '--\r\n') return 'close';
  throw new Malformed('there are bytes after a boundary');
}

function takePart(head: string, content: Buffer, collector: FieldCollector): void {
  const headers = headersOf(head);
  const disposition = readDisposition(headers.get('content-disposition') ?? '');
  const { value, parameters } = disposition ?? { value: '', parameters: new Map<string, string>() };
  const name = parameters.get('name');
  if (value !== 'form-data' || name === undefined) throw new Malformed('a part has no plain Content-Disposition');
  for (const [key, text] of parameters) {
    if (key.startsWith('name*') || NAME_WITHIN.test(text)) throw new Malformed('a part has a second name');
  }
  checkEncoding(headers);
  const loose = withoutEscapes(name);
  const isNamed = (wanted: string): boolean => resembles(loose, wanted) || resembles(utf8Of(loose), wanted);
  if (isNamed('_charset_')) throw new Malformed('it has the field _charset_');
  if (isNamed(collector.name)) takeField(utf8Of(name), parameters, headers, content, collector);
}

function takeField(
  text: string,
  parameters: ReadonlyMap<string, string>,
  headers: ReadonlyMap<string, string>,
  content: Buffer,
  collector: FieldCollector,
): void {
  const { name } = collector;
  const type = headers.get('content-type');
  const media = type === undefined ? undefined : readMediaType(type);
  const isText = type === undefined || (media?.value === 'text/plain' && !isForeign(media));
  if (text !== name) collector.refuse(`the form's field ${JSON.stringify(text)} must be written "${name}"`);
  else if (parameters.size > 1 || !isText) collector.refuse(`the form's field "${name}" is not plain text`);
  else collector.add(content);
}

function isForeign(media: ParameterisedValue): boolean {
  return charsetProblem({ kind: 'valid', ...media }) !== undefined;
}

function headersOf(head: string): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0));
    // A folded line begins with white space, so it has no name either.
    if (!HEADER_NAME.test(name) || !HEADER_LINE.test(line)) throw new Malformed('a part has a malformed header');
    if (headers.has(name.toLowerCase())) throw new Malformed(`a part has the header ${JSON.stringify(name)} twice`);
    headers.set(name.toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}

function checkEncoding(headers: ReadonlyMap<string, string>): void {
  const encoding = headers.get('content-transfer-encoding')?.toLowerCase();
  if (encoding !== undefined && !IDENTITY_ENCODINGS.has(encoding)) {
    throw new Malformed('a part has a Content-Transfer-Encoding');
  }
  if (headers.get('content-type')?.toLowerCase().startsWith('multipart/') === true) {
    throw new Malformed('a part is itself a multipart form');
  }
}

/** Some readers undo percent escapes or backslashes in names. */
function withoutEscapes(name: string): string {
  return name
    .replaceAll('\\', '')
    .replace(/%([0-9a-f]{2})/gi, (_escape, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}
