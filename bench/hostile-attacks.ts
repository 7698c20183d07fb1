// Benchmarks, hostile callers: each attack is one request, sent again and again over some connections. In: nothing;
// out: the bytes of requests that cost a reader the most for what they cost their sender, up to 16 MiB.
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { drawer, SEED } from './figures.ts';
import { ROUTE } from './limiter-process.ts';

export interface Attack {
  readonly name: string;
  readonly connections: number;
  /** The request, in pieces. */
  readonly pieces: () => readonly Buffer[];
  /** Its connections wait for ever once all pieces are sent. */
  readonly stalls?: boolean;
}

const MIB = 2 ** 20;
/** A little less than --max-body. */
const SIZE = 16 * MIB - 1024;

const CHAT = `${ROUTE}/v1/chat/completions`;
const UPLOAD = `${ROUTE}/v1/audio/transcriptions`;

function request(path: string, headers: readonly string[], body: Buffer): readonly Buffer[] {
  return [head(path, [`Content-Length: ${body.length}`, ...headers]), body];
}

function head(path: string, headers: readonly string[]): Buffer {
  return Buffer.from([`POST ${path} HTTP/1.1`, 'Host: bench', ...headers, '', ''].join('\r\n'));
}

/** `before`, `unit` as often as it fits, `after`. */
function filled(before: string, unit: string, after: string): Buffer {
  const times = Math.floor((SIZE - before.length - after.length) / unit.length);
  return Buffer.from(before + unit.repeat(times) + after);
}

const JSON_TYPE = ['Content-Type: application/json'];

function json(name: string, before: string, unit: string, after: string): Attack {
  return { name, connections: 8, pieces: () => request(CHAT, JSON_TYPE, filled(before, unit, after)) };
}

/** Compresses to a little more than a hundredth: just allowed. */
function nearlyBomb(): readonly Buffer[] {
  const draw = drawer(2 ** 24, SEED);
  const noise = Buffer.from(Array.from({ length: 160_000 }, () => draw() >> 16)).toString('base64');
  const body = gzipSync(filled(`["${noise}",`, '{},', '{}]'), { level: 9 });
  return request(CHAT, [...JSON_TYPE, 'Content-Encoding: gzip'], body);
}

/** A list of a MiB, in chunks of `size` bytes. */
function dripped(size: number): readonly Buffer[] {
  const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
  const chunks = `${chunk('[')}${chunk(' '.repeat(size)).repeat(MIB / size)}${chunk(']')}0\r\n\r\n`;
  return [head(CHAT, ['Transfer-Encoding: chunked']), Buffer.from(chunks)];
}

const BOUNDARY = 'a'.repeat(70);
const FORM = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n`;

export const ATTACKS: readonly Attack[] = [
  {
    name: '16 MiB of empty objects as 33 bytes of brotli',
    connections: 64,
    pieces: () => request(CHAT, ['Content-Encoding: br'], brotliCompressSync(filled('[', '{},', '{}]'))),
  },
  { name: 'gzip just below 100 to 1', connections: 8, pieces: nearlyBomb },
  json('empty objects', '[', '{},', '{}]'),
  json('numbers', '[', '1,', '1]'),
  json('empty texts', '{"messages":[', '"",', '""]}'),
  json('backslashes', '{"a":"', '\\\\', '"}'),
  json('white space', '{', ' ', '}'),
  {
    name: 'ten thousand members with escaped names',
    connections: 8,
    pieces: () => {
      const names = Array.from({ length: 9_990 }, (_name, index) => `"${'\\u0061'.repeat(160)}${index}":1`);
      return request(CHAT, JSON_TYPE, Buffer.from(`{${names.join(',')}}`));
    },
  },
  {
    name: 'a form whose boundary nearly matches everywhere',
    connections: 8,
    pieces: () =>
      request(UPLOAD, [`Content-Type: multipart/form-data; boundary=${BOUNDARY}`], filled(FORM, '-aaaaaaaaa', '')),
  },
  {
    name: 'a form of ampersands',
    connections: 8,
    pieces: () => request(UPLOAD, ['Content-Type: application/x-www-form-urlencoded'], filled('', '&', '')),
  },
  {
    name: '40,000 requests in one MiB, pipelined',
    connections: 8,
    pieces: () => [Buffer.from(`GET ${ROUTE} HTTP/1.1\r\nHost:a\r\n\r\n`.repeat(40_000))],
  },
  { name: 'a byte a chunk', connections: 8, pieces: () => dripped(1) },
  { name: '32 bytes a chunk', connections: 8, pieces: () => dripped(32) },
  {
    name: '40 bodies that stall at 13 of 16 MiB',
    connections: 40,
    stalls: true,
    pieces: () => [head(CHAT, [`Content-Length: ${SIZE}`]), Buffer.alloc(13 * MIB, ' ')],
  },
  {
    name: 'heads of 15 KiB: labels, colons, commas',
    connections: 8,
    pieces: () => [
      Buffer.from(
        [
          `GET ${ROUTE}/models/${':a'.repeat(2_000)} HTTP/1.1`,
          `Host: ${'a.'.repeat(2_000)}x`,
          `Connection: ${', '.repeat(1_000)}x`,
          `X-Forwarded-For: ${'1,'.repeat(2_000)}1`,
          `Content-Type: a/b${' ;'.repeat(1_000)}`,
          '',
          '',
        ].join('\r\n'),
      ),
    ],
  },
];
