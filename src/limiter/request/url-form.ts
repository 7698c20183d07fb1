// Limiter, request stage: one field of a form in application/x-www-form-urlencoded. In: bytes; out: the field, or why
// readers could differ about it. Linear, in slices; other fields are passed over, never copied.
import { nextTurn } from '../../lib/turns.ts';
import { FieldCollector, MAX_VALUE_BYTES, resembles, utf8Of, type FormField } from './form-field.ts';

const AMPERSAND = 0x26;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
/** A name of at most 20 characters, each an escape of up to nine bytes, and what may stand around it. */
const MAX_NAME_BYTES = 256;
/** Looked at in one turn of the event loop, should it all be names that need a closer look. */
const SLICE_BYTES = 64 * 1024;
const ESCAPE = /%u([0-9a-f]{4})|%([0-9a-f]{2})/gi;

/** Reads the field `name` (lower case). `;` separates fields for some readers: a field between them is refused. */
export async function urlFormField(bytes: Buffer, name: string): Promise<FormField> {
  const form = new UrlForm(bytes, name);
  while (!form.advance(SLICE_BYTES)) await nextTurn();
  return form.field;
}

class UrlForm {
  readonly #bytes: Buffer;
  readonly #collector: FieldCollector;
  #at = 0;
  /** Of the current field: where it begins, its first "=" (-1: none yet), and whether a ";" bounds it. */
  #start = 0;
  #equals = -1;
  #isLoose = false;

  constructor(bytes: Buffer, name: string) {
    this.#bytes = bytes;
    this.#collector = new FieldCollector(name);
  }

  get field(): FormField {
    return this.#collector.field;
  }

  /** @returns true at the end */
  advance(count: number): boolean {
    const bytes = this.#bytes;
    const stop = Math.min(bytes.length, this.#at + count);
    for (let at = this.#at; at < stop; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte === EQUALS) {
        if (this.#equals < 0) this.#equals = at;
      } else if (byte === AMPERSAND || byte === SEMICOLON) this.#end(at, byte === SEMICOLON);
    }
    this.#at = stop;
    if (stop < bytes.length) return false;
    this.#end(stop, false);
    return true;
  }

  #end(end: number, isLoose: boolean): void {
    const nameEnd = this.#equals < 0 ? end : this.#equals;
    const length = nameEnd - this.#start;
    if (length >= this.#collector.name.length && length <= MAX_NAME_BYTES) {
      this.#field(nameEnd, end, this.#isLoose || isLoose);
    }
    this.#start = end + 1;
    this.#equals = -1;
    this.#isLoose = isLoose;
  }

  #field(nameEnd: number, end: number, isLoose: boolean): void {
    const collector = this.#collector;
    const raw = this.#bytes.toString('latin1', this.#start, nameEnd);
    const loose = loosely(raw);
    if (!resembles(loose, collector.name) && !resembles(utf8Of(loose), collector.name)) return;
    const isExact = strictly(raw)?.toString('utf8') === collector.name;
    const value = strictly(
      this.#bytes.toString('latin1', nameEnd + 1, Math.min(end, nameEnd + 1 + 3 * MAX_VALUE_BYTES + 1)),
    );
    if (isLoose || !isExact || value === undefined)
      collector.refuse(`the form's field "${collector.name}" is malformed`);
    else collector.add(value);
  }
}

/** A name as the most forgiving reader has it: one character a byte, escapes of any form undone. */
function loosely(raw: string): string {
  return raw
    .replaceAll('+', ' ')
    .replace(ESCAPE, (_escape, wide?: string, narrow?: string) =>
      String.fromCharCode(parseInt(wide ?? narrow ?? '', 16)),
    );
}

/** The bytes that a text stands for; undefined where an escape is malformed, or missing for what is not ASCII. */
function strictly(raw: string): Buffer | undefined {
  return /%(?![0-9a-f]{2})|[\x80-\xff]/i.test(raw) ? undefined : Buffer.from(loosely(raw), 'latin1');
}
