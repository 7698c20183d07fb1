// Hostile corpus: the YAML files beside this one -> cases, checked. A word that is not known is an error: a typing
// mistake must not turn a case into one that says nothing.
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { Ajv } from 'ajv';
import { parse } from 'yaml';

export type Mode = 'sidecar' | 'shared';
export type Outcome = 'refused' | 'counted' | 'free' | 'answered';

type Piece =
  string | { readonly text: string; readonly times?: number } | { readonly base64: string } | { readonly hex: string };
type Coding = 'gzip' | 'deflate' | 'br' | 'zstd' | 'utf16le';
type HeaderList = readonly (readonly [string, string])[];

export interface HostileRequest {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: HeaderList | Readonly<Record<string, string>>;
  readonly body?: Piece | readonly Piece[];
  readonly encode?: readonly Coding[];
  readonly chunked?: boolean;
}

export interface Expectation {
  readonly outcome: Outcome;
  readonly count?: number;
  readonly status?: number | readonly number[];
  readonly answer?: readonly string[];
  readonly lacks?: readonly string[];
  readonly headers?: Readonly<Record<string, string | null>>;
  readonly forwarded?: {
    readonly path?: string;
    readonly body?: string;
    readonly headers?: Readonly<Record<string, string | null>>;
  };
}

export interface HostileCase {
  readonly name: string;
  readonly modes?: readonly Mode[];
  readonly to?: 'traffic' | 'decision';
  readonly request?: HostileRequest;
  readonly raw?: string;
  readonly expect: Expectation;
}

export interface HostileFile {
  readonly name: string;
  readonly objects?: readonly Record<string, unknown>[];
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly cases: readonly HostileCase[];
}

const TEXTS = { type: 'array', items: { type: 'string' } } as const;
const PATTERNS = { type: 'object', additionalProperties: { type: 'string', nullable: true } } as const;
const PIECE = { type: ['string', 'object'] } as const;

const SCHEMA = {
  type: 'object',
  properties: {
    objects: { type: 'array', items: { type: 'object' } },
    settings: { type: 'object' },
    cases: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        properties: {
          name: { type: 'string' },
          modes: { type: 'array', items: { enum: ['sidecar', 'shared'] } },
          to: { enum: ['traffic', 'decision'] },
          request: {
            type: 'object',
            properties: {
              method: { type: 'string' },
              path: { type: 'string' },
              headers: { type: ['array', 'object'] },
              body: { oneOf: [PIECE, { type: 'array', items: PIECE }] },
              encode: { type: 'array', items: { enum: ['gzip', 'deflate', 'br', 'zstd', 'utf16le'] } },
              chunked: { type: 'boolean' },
            },
            additionalProperties: false,
          },
          raw: { type: 'string' },
          expect: {
            type: 'object',
            properties: {
              outcome: { enum: ['refused', 'counted', 'free', 'answered'] },
              count: { type: 'integer' },
              status: { oneOf: [{ type: 'integer' }, { type: 'array', items: { type: 'integer' } }] },
              answer: TEXTS,
              lacks: TEXTS,
              headers: PATTERNS,
              forwarded: {
                type: 'object',
                properties: { path: { type: 'string' }, body: { type: 'string' }, headers: PATTERNS },
                additionalProperties: false,
              },
            },
            required: ['outcome'],
            additionalProperties: false,
          },
        },
        required: ['name', 'expect'],
        oneOf: [{ required: ['request'] }, { required: ['raw'] }],
        additionalProperties: false,
      },
    },
  },
  required: ['cases'],
  additionalProperties: false,
} as const;

/**
 * Every file of the corpus, in the order of their names. @throws Error naming file and place of what is not
 * understood
 */
export function loadCorpus(): HostileFile[] {
  const ajv = new Ajv({ allErrors: true, strict: false });
  const validate = ajv.compile(SCHEMA);
  return globSync(join(import.meta.dirname, '*.yaml'))
    .sort()
    .map((path) => {
      const content = parse(readFileSync(path, 'utf8')) as Omit<HostileFile, 'name'>;
      if (!validate(content)) throw new Error(`${basename(path)}: ${ajv.errorsText(validate.errors)}`);
      return { name: basename(path, '.yaml'), ...content };
    });
}

/** The bytes of a request's body. */
export function bodyOf({ body, encode = [] }: HostileRequest): Buffer {
  const pieces: readonly Piece[] = body === undefined ? [] : isList(body) ? body : [body];
  let bytes: Buffer = Buffer.concat(pieces.map(pieceBytes));
  for (const coding of encode) bytes = ENCODERS[coding](bytes);
  return bytes;
}

const ENCODERS: Readonly<Record<Coding, (bytes: Buffer) => Buffer>> = {
  gzip: gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
  utf16le: (bytes) => Buffer.from(bytes.toString(), 'utf16le'),
};

function isList(body: Piece | readonly Piece[]): body is readonly Piece[] {
  return Array.isArray(body);
}

function pieceBytes(piece: Piece): Buffer {
  if (typeof piece === 'string') return Buffer.from(piece);
  if ('base64' in piece) return Buffer.from(piece.base64, 'base64');
  if ('hex' in piece) return Buffer.from(piece.hex.replaceAll(' ', ''), 'hex');
  return Buffer.from(piece.text.repeat(piece.times ?? 1));
}
