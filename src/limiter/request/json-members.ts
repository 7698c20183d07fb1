// Limiter, request stage: the members of one JSON object that the limiter reads. In: names and values as the scan of
// json-scan.ts meets them; out: what was read, with its place in the body, or why parsers would not read it alike.

/** `message`: the root object or an element of a root array. `params`: the `params` of one. */
export type Role = 'message' | 'params';

export type JsonKind = 'string' | 'number' | 'boolean' | 'null' | 'object' | 'array';

/** A value that was read. The bytes from `start` to `end` (exclusive) are its source text. */
export interface JsonMember {
  readonly kind: JsonKind;
  /** Where the member begins: the opening quote of its name. */
  readonly nameStart: number;
  readonly start: number;
  readonly end: number;
  /** Of a string, number, boolean or null; undefined for objects and arrays, of which nothing is kept. */
  readonly value?: string | number | boolean | null;
  /** Of an id: its source text, which is what an answer repeats (9007199254740993 is no number of JavaScript). */
  readonly source?: string;
  /** Of `params` when it is an object. */
  readonly object?: JsonObject;
}

/** An object of which members are read. `bytes[end - 1]` is its closing brace. */
export interface JsonObject {
  readonly start: number;
  readonly end: number;
  /** How many members it has, those that are not read included. */
  readonly size: number;
  readonly members: ReadonlyMap<string, JsonMember>;
}

const READ: Readonly<Record<Role, ReadonlySet<string>>> = {
  message: new Set(['model', 'stream', 'jsonrpc', 'id', 'method', 'params']),
  params: new Set(['name', 'uri', 'protocolVersion']),
};
/** Some parsers ignore the case of names: lower case -> the one spelling that is accepted, in either role. */
const SPELLINGS: ReadonlyMap<string, string> = new Map(
  [...READ.message, ...READ.params].map((name) => [name.toLowerCase(), name]),
);
/** The longest read name in UTF-8, should every letter of it be one of three bytes that folds to ASCII. */
const MAX_FOLDED_BYTES = 48;
/** Bounds that no request meets; they keep what is remembered of a body far below its size. */
const MAX_NAME_BYTES = 1024;
const MAX_MEMBERS = 10_000;
const MAX_TEXT_BYTES = 64 * 1024;

/** Reads the members of one object. Every method that can find fault answers what is wrong, or undefined. */
export class MemberReader {
  readonly role: Role;
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #seen = new Set<string>();
  readonly #members = new Map<string, JsonMember>();
  /** The read member whose value comes next. */
  #name: string | undefined;
  #nameStart = 0;

  constructor(role: Role, bytes: Buffer, start: number) {
    this.role = role;
    this.#bytes = bytes;
    this.#start = start;
  }

  /** The value that comes next is the `params` of a message. */
  get isAtParams(): boolean {
    return this.role === 'message' && this.#name === 'params';
  }

  /** @param start of the opening quote; `end` is behind the closing one */
  name(start: number, end: number, hasEscape: boolean): string | undefined {
    this.#name = undefined;
    if (end - start > MAX_NAME_BYTES) return `a member's name is longer than ${MAX_NAME_BYTES} bytes`;
    if (this.#seen.size === MAX_MEMBERS) return `an object has more than ${MAX_MEMBERS} members`;
    const name = textOf(this.#bytes, start, end, hasEscape);
    if (!name.isWellFormed()) return `the member name ${this.#source(start, end)} is not well-formed Unicode`;
    // To some readers a text ends there: `model\0` would be a second `model`.
    if (name.includes('\0')) return `the member name ${this.#source(start, end)} contains a NUL`;
    if (this.#seen.has(name)) return `the member ${this.#source(start, end)} occurs twice`;
    this.#seen.add(name);
    if (end - start <= MAX_FOLDED_BYTES) {
      const spelling = SPELLINGS.get(name.toUpperCase().toLowerCase());
      if (spelling !== undefined && spelling !== name) {
        return `the member ${this.#source(start, end)} must be written "${spelling}"`;
      }
    }
    if (!READ[this.role].has(name)) return undefined;
    this.#name = name;
    this.#nameStart = start;
    return undefined;
  }

  /** The value of the member that was named last. */
  value(kind: JsonKind, start: number, end: number, object: JsonObject | undefined): string | undefined {
    const name = this.#name;
    if (name === undefined) return undefined;
    this.#name = undefined;
    const place = { kind, nameStart: this.#nameStart, start, end };
    if (kind === 'object' || kind === 'array') {
      this.#members.set(name, object === undefined ? place : { ...place, object });
      return undefined;
    }
    if (end - start > MAX_TEXT_BYTES) return `the member "${name}" is longer than ${MAX_TEXT_BYTES} bytes`;
    const source = this.#source(start, end);
    const value = JSON.parse(source) as string | number | boolean | null;
    if (name === 'id') {
      this.#members.set(name, { ...place, value, source });
      return undefined;
    }
    // Texts that are compared: some readers end them at a NUL, or write something else for half a character.
    if (typeof value === 'string' && (value.includes('\0') || !value.isWellFormed())) {
      return `the member "${name}" contains a NUL or half a surrogate pair`;
    }
    this.#members.set(name, { ...place, value });
    return undefined;
  }

  /** What was read of the object, once it is closed. */
  finish(end: number): JsonObject {
    return { start: this.#start, end, size: this.#seen.size, members: this.#members };
  }

  #source(start: number, end: number): string {
    return this.#bytes.toString('utf8', start, end);
  }
}

function textOf(bytes: Buffer, start: number, end: number, hasEscape: boolean): string {
  if (!hasEscape) return bytes.toString('utf8', start + 1, end - 1);
  return JSON.parse(bytes.toString('utf8', start, end)) as string;
}
