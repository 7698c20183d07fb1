// Limiter, proxy: finds one text field in an upload (multipart/form-data, RFC 7578). In: bytes and Content-Type; out: its
// value when the form holds it exactly once.

const BOUNDARY = /^multipart\/form-data\s*;.*?boundary=(?:"([^"]+)"|([^;\s]+))/i;
const FIELD_NAME = /^content-disposition:[^\r\n]*?;\s*name=(?:"([^"]*)"|([^;\s]+))/im;
const HEADER_END = '\r\n\r\n';
/** A model's name is shorter than this; longer parts (files) are never turned into text. */
const MAX_HEAD_BYTES = 2048;

/** The value of field `name`; undefined when it is absent, there twice (servers differ in which they take) or unreadable. */
export function formField(bytes: Buffer, contentType: string, name: string): string | undefined {
  const found = BOUNDARY.exec(contentType);
  const boundary = found?.[1] ?? found?.[2];
  if (boundary === undefined) return undefined;
  const values = partsOf(bytes, `--${boundary}`).flatMap((part) => valueOf(part, name));
  return values.length === 1 ? values[0] : undefined;
}

function partsOf(bytes: Buffer, delimiter: string): Buffer[] {
  const parts: Buffer[] = [];
  let start = bytes.indexOf(delimiter);
  while (start >= 0) {
    const from = start + delimiter.length;
    const next = bytes.indexOf(`\r\n${delimiter}`, from);
    if (next < 0) break;
    parts.push(bytes.subarray(from, next));
    start = next + 2;
  }
  return parts;
}

function valueOf(part: Buffer, name: string): string[] {
  const headEnd = part.subarray(0, MAX_HEAD_BYTES).indexOf(HEADER_END);
  if (headEnd < 0) return [];
  const field = FIELD_NAME.exec(part.toString('latin1', 0, headEnd).trimStart());
  if ((field?.[1] ?? field?.[2])?.toLowerCase() !== name) return [];
  const value = part.subarray(headEnd + HEADER_END.length);
  return value.length > MAX_HEAD_BYTES ? [] : [value.toString('utf8')];
}
