// Limiter, request stage: one pass over a JSON text, in slices. In: bytes; out: the members that the limiter reads,
// with their places, or what is not strict JSON (RFC 8259) in UTF-8. Nothing else of the text is made into values.
import { isUtf8 } from 'node:buffer';
import { MemberReader, type JsonKind, type JsonObject } from './json-members.ts';
import {
  BACKSLASH,
  CLASS,
  CLOSE,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  endOfNumber,
  escapeLength,
  LITERAL,
  LITERALS,
  MAX_NUMBER_BYTES,
  NUMBER,
  OPEN,
  OPEN_ARRAY,
  OPEN_OBJECT,
  OTHER,
  PLAIN,
  QUOTE,
  standsAt,
  STRING,
  WHITE,
} from './json-token.ts';

/** A JSON text that was scanned to its end. */
export interface JsonRoot {
  /** Elements of a root array; undefined when the root is an object. */
  readonly length?: number;
  /**
   * The root object, or the first {@link MAX_READ_ELEMENTS} of a root array; undefined for an element that is no
   * object.
   */
  readonly objects: readonly (JsonObject | undefined)[];
}

/** More elements of a root array are counted, and not read. */
export const MAX_READ_ELEMENTS = 400;
/** Deeper than any request is; parsers differ in where they give up. */
export const MAX_DEPTH = 200;
/** What may come next. */
const AT_VALUE = 0;
const AT_FIRST_VALUE = 1;
const AT_FIRST_NAME = 2;
const AT_NAME = 3;
const AT_COLON = 4;
const AFTER_VALUE = 5;
const AT_END = 6;
const VALUE_CLASSES = (1 << OPEN) | (1 << STRING) | (1 << NUMBER) | (1 << LITERAL);
/** By state: the classes that may begin the next token, one bit each. */
const ALLOWED = [
  VALUE_CLASSES,
  VALUE_CLASSES | (1 << CLOSE),
  (1 << STRING) | (1 << CLOSE),
  1 << STRING,
  1 << COLON,
  (1 << COMMA) | (1 << CLOSE),
  0,
] as const;

/** A scan under way. Its state is as large as the text is deep, and what was read. */
export class JsonScan {
  readonly #bytes: Buffer;
  #at = 0;
  #state: number = AT_VALUE;
  /** Start of the string that the scan is in; -1 outside strings. */
  #stringStart = -1;
  #hasEscape = false;
  /** Up to here the bytes are known to be UTF-8. */
  #validUntil = 0;
  #depth = 0;
  /** By depth, from 1: what was opened there, and where. */
  readonly #opened = new Uint8Array(MAX_DEPTH + 1);
  readonly #starts = new Uint32Array(MAX_DEPTH + 1);
  /** By depth: reads the members of that object; undefined where nothing is read. */
  readonly #readers: (MemberReader | undefined)[] = [];
  readonly #objects: (JsonObject | undefined)[] = [];
  /** Elements of the root array so far. */
  #length = 0;
  #problem: string | undefined;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Why the text is refused; undefined so far, or for good once the scan is done. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** What was read, once {@link advance} has answered true without a problem. */
  get root(): JsonRoot {
    return this.#opened[1] === OPEN_ARRAY
      ? { length: this.#length, objects: this.#objects }
      : { objects: this.#objects };
  }

  /** Scans about `count` bytes more. @returns true once the end or a problem is reached */
  advance(count: number): boolean {
    const stop = Math.min(this.#bytes.length, this.#at + count);
    if (!this.#isUtf8(stop)) this.#fail('the body is not UTF-8');
    while (this.#at < stop && this.#problem === undefined) {
      if (this.#stringStart < 0) this.#token();
      else this.#string(stop);
    }
    if (this.#problem !== undefined) return true;
    if (this.#at < this.#bytes.length) return false;
    if (this.#state !== AT_END) this.#fail('the body ends in the middle of its JSON text');
    return true;
  }

  /** Whether the bytes up to `stop`, or to the character that is cut there, are UTF-8. */
  #isUtf8(stop: number): boolean {
    let end = stop;
    while (end < this.#bytes.length && end > stop - 3 && ((this.#bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
    if (end <= this.#validUntil) return true;
    const slice = this.#bytes.subarray(this.#validUntil, end);
    this.#validUntil = end;
    return isUtf8(slice);
  }

  #token(): void {
    const byte = this.#bytes[this.#at] ?? 0;
    const kind = CLASS[byte] ?? OTHER;
    if (kind === WHITE) {
      this.#at += 1;
      return;
    }
    if ((((ALLOWED[this.#state] ?? 0) >> kind) & 1) === 0) {
      this.#malformed();
      return;
    }
    this.#begin(kind, byte);
  }

  #begin(kind: number, byte: number): void {
    switch (kind) {
      case OPEN:
        this.#open(byte);
        break;
      case CLOSE:
        this.#close(byte);
        break;
      case STRING:
        this.#stringStart = this.#at;
        this.#hasEscape = false;
        this.#at += 1;
        break;
      case NUMBER:
        this.#number();
        break;
      case LITERAL:
        this.#literal();
        break;
      default:
        this.#separator(kind);
    }
  }

  #separator(kind: number): void {
    this.#at += 1;
    if (kind === COLON) this.#state = AT_VALUE;
    else this.#state = this.#opened[this.#depth] === OPEN_OBJECT ? AT_NAME : AT_VALUE;
  }

  #open(byte: number): void {
    if (this.#depth === MAX_DEPTH) {
      this.#fail(`the body is nested deeper than ${MAX_DEPTH}`);
      return;
    }
    const reader = byte === OPEN_OBJECT ? this.#readerHere() : undefined;
    this.#depth += 1;
    this.#opened[this.#depth] = byte;
    this.#starts[this.#depth] = this.#at;
    this.#readers[this.#depth] = reader;
    this.#state = byte === OPEN_OBJECT ? AT_FIRST_NAME : AT_FIRST_VALUE;
    this.#at += 1;
  }

  /** Who reads the object that begins here. */
  #readerHere(): MemberReader | undefined {
    const isElement = this.#depth === 1 && this.#opened[1] === OPEN_ARRAY && this.#length < MAX_READ_ELEMENTS;
    if (this.#depth === 0 || isElement) return new MemberReader('message', this.#bytes, this.#at);
    const parent = this.#readers[this.#depth];
    return parent?.isAtParams === true ? new MemberReader('params', this.#bytes, this.#at) : undefined;
  }

  #close(byte: number): void {
    const opened = this.#opened[this.#depth];
    if ((byte === CLOSE_OBJECT) !== (opened === OPEN_OBJECT)) {
      this.#malformed();
      return;
    }
    this.#at += 1;
    const object = this.#readers[this.#depth]?.finish(this.#at);
    const start = this.#starts[this.#depth] ?? 0;
    this.#depth -= 1;
    this.#value(opened === OPEN_OBJECT ? 'object' : 'array', start, object);
  }

  /** A value ends here. */
  #value(kind: JsonKind, start: number, object?: JsonObject): void {
    this.#state = AFTER_VALUE;
    if (this.#depth > 1) {
      const problem = this.#readers[this.#depth]?.value(kind, start, this.#at, object);
      if (problem !== undefined) this.#fail(problem);
    } else this.#topValue(kind, start, object);
  }

  /** A member of the root object, an element of the root array, or the root itself. */
  #topValue(kind: JsonKind, start: number, object: JsonObject | undefined): void {
    if (this.#depth === 0) {
      this.#state = AT_END;
      if (this.#opened[1] === OPEN_OBJECT) this.#objects.push(object);
    } else if (this.#opened[1] === OPEN_ARRAY) {
      this.#length += 1;
      if (this.#length <= MAX_READ_ELEMENTS) this.#objects.push(object);
    } else {
      const problem = this.#readers[1]?.value(kind, start, this.#at, object);
      if (problem !== undefined) this.#fail(problem);
    }
  }

  /** Goes on inside a string, up to `stop` or its end. */
  #string(stop: number): void {
    const bytes = this.#bytes;
    let at = this.#at;
    while (at < stop && PLAIN[bytes[at] ?? 0] === 1) at += 1;
    this.#at = at;
    if (at >= stop) return;
    const byte = bytes[at];
    if (byte === QUOTE) this.#stringEnd();
    else if (byte === BACKSLASH) this.#escape();
    else this.#malformed();
  }

  #escape(): void {
    const length = escapeLength(this.#bytes, this.#at);
    this.#hasEscape = true;
    if (length === 0) this.#malformed();
    else this.#at += length;
  }

  #stringEnd(): void {
    const start = this.#stringStart;
    this.#stringStart = -1;
    this.#at += 1;
    if (this.#state !== AT_FIRST_NAME && this.#state !== AT_NAME) {
      this.#value('string', start);
      return;
    }
    this.#state = AT_COLON;
    const problem = this.#readers[this.#depth]?.name(start, this.#at, this.#hasEscape);
    if (problem !== undefined) this.#fail(problem);
  }

  #number(): void {
    const start = this.#at;
    const end = endOfNumber(this.#bytes, start);
    if (end < 0) this.#malformed();
    else if (end - start > MAX_NUMBER_BYTES) this.#fail(`a number is longer than ${MAX_NUMBER_BYTES} characters`);
    else {
      this.#at = end;
      this.#value('number', start);
    }
  }

  #literal(): void {
    const start = this.#at;
    for (const [text, kind] of LITERALS) {
      if (!standsAt(this.#bytes, start, text)) continue;
      this.#at = start + text.length;
      this.#value(kind, start);
      return;
    }
    this.#malformed();
  }

  #malformed(): void {
    this.#fail(`the body is not valid JSON in UTF-8: see byte ${this.#at}`);
  }

  #fail(problem: string): void {
    this.#problem ??= problem;
  }
}
