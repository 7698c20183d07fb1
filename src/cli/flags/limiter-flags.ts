// CLI: the values that only `weir limiter` takes. Input: text from the command line or the environment; output:
// checked values with their unit; an invalid text is an InvalidArgumentError, which ends with exit code 2.
import { InvalidArgumentError } from 'commander';
import { CAPABILITIES } from '../../contract/capabilities.ts';
import { parseByteSize } from '../../lib/values/byte-size.ts';
import { parseDurationMicros } from '../../lib/values/duration.ts';
import { parseListen } from './flags.ts';

/** Node's timers cannot wait longer than this. */
const MAX_TIMER_MS = 576 * 3_600_000;

/** A duration such as 50ms or 1m30s; more than 0, at most 576h. @returns whole ms, at least 1 */
export function parseDurationMs(text: string): number {
  const micros = parseDurationMicros(text);
  if (micros === undefined) throw new InvalidArgumentError(`"${text}" is not a duration: write 50ms, 10s, 1m30s`);
  const ms = Math.ceil(micros / 1000);
  if (ms > MAX_TIMER_MS) throw new InvalidArgumentError(`"${text}" is longer than 576h`);
  return ms;
}

/** A size such as 16Mi or 65536. @returns bytes */
export function parseBytes(text: string): number {
  const bytes = parseByteSize(text);
  if (bytes === undefined) throw new InvalidArgumentError(`"${text}" is not a size: write 65536, 512Ki, 16Mi`);
  return bytes;
}

/** A duration as {@link parseDurationMs} reads it, or `off`. @returns whole ms; 0 for off */
export function parseDurationMsOrOff(text: string): number {
  return text === 'off' ? 0 : parseDurationMs(text);
}

/** Node reads the headers of a request into one buffer per connection: a limit beyond this is a mistake. */
const HEADER_BYTES = { least: 1024, most: 1024 ** 2 } as const;
const MOST_HEADERS = 10_000;

/** The size of a request's line and headers: 1Ki to 1Mi. @returns bytes */
export function parseHeaderBytes(text: string): number {
  const bytes = parseBytes(text);
  if (bytes >= HEADER_BYTES.least && bytes <= HEADER_BYTES.most) return bytes;
  throw new InvalidArgumentError(`"${text}" is out of range: write a size from 1Ki to 1Mi, such as 32Ki`);
}

/** The number of header lines of a request: 1 to 10000. */
export function parseHeaderCount(text: string): number {
  const count = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MOST_HEADERS) return count;
  throw new InvalidArgumentError(`"${text}" is not a number of headers: write 1 to ${MOST_HEADERS}, such as 100`);
}

/** The id of a capability of this version. */
export function parseCapability(text: string): string {
  const known = [...new Set(CAPABILITIES.filter(({ enforced }) => enforced).map(({ id }) => id))].sort();
  if (!known.includes(text)) throw new InvalidArgumentError(`"${text}" is no capability: one of ${known.join(', ')}`);
  return text;
}

/** Where a server listens, or `off`: a word, because commander takes `undefined` for a flag without a value. */
export function parseListenOrOff(text: string): { host: string; port: number } | 'off' {
  return text === 'off' ? 'off' : parseListen(text);
}

/** The base URL of a server: http or https, a host, at most a port and a path. */
export function parseBaseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url?.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!isPlain || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError(`"${text}" is not a base URL: write http://127.0.0.1:8000`);
  }
  return text.replace(/\/+$/, '');
}
