// Limiter, proxy: the head of an upstream's answer, checked. In: status, reason and headers as the upstream sent
// them; out: what may go on to a client, or why nothing may. Pure: whatever comes in, nothing here throws and nothing
// invalid goes out.
import { STATUS_CODES, type IncomingHttpHeaders } from 'node:http';

/** A head whose every byte may be sent on. */
export interface CheckedHead {
  readonly status: number;
  readonly reason: string;
  /** Lower case; of one name in the order in which they came. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The reason or a header was replaced. */
  readonly isMended: boolean;
}

/** What follows "the upstream sent …" in a message. */
export interface InvalidHead {
  readonly problem: string;
}

/** A long one alone would exceed what clients take for a head. */
const REASON = /^[\t\x20-\x7e]{0,256}$/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/i;
/**
 * What a field value must not hold: RFC 9110, 5.5, has it replaced by a space. Bytes from 0x80 (obs-text) pass as
 * they are.
 */
const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/g;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Checks a final answer (no 1xx). */
export function checkHead(status: number, reason: string, headers: IncomingHttpHeaders): CheckedHead | InvalidHead {
  if (!Number.isInteger(status) || status < 200 || status > 599) return { problem: `the status ${status}` };
  const problem = framingProblem(headers);
  if (problem !== undefined) return { problem };
  const isFine = REASON.test(reason);
  const fields: [string, string][] = [];
  const areFine = takeAll(fields, status, headers);
  return {
    status,
    reason: isFine ? reason : (STATUS_CODES[status] ?? ''),
    headers: fields,
    isMended: !(isFine && areFine),
  };
}

/** @returns false: not all of them as they were sent */
function takeAll(fields: [string, string][], status: number, headers: IncomingHttpHeaders): boolean {
  const hasNoLength = status === 204 || headers['transfer-encoding'] !== undefined;
  let areFine = true;
  for (const name of Object.keys(headers)) {
    // A length beside chunks is wrong, and 204 has none (RFC 9110, 8.6); the other framing headers are hop-by-hop.
    if (hasNoLength && name === 'content-length') continue;
    for (const value of listed(headers[name])) areFine = take(fields, name, value) && areFine;
  }
  return areFine;
}

/** Adds a field as it may go on. @returns false: not as it was sent, or not at all */
function take(fields: [string, string][], name: string, value: string): boolean {
  if (!TOKEN.test(name)) return false;
  const isValid = VALUE.test(value);
  fields.push([name, isValid ? value : value.replace(NOT_A_VALUE, ' ')]);
  return isValid;
}

/** A body of a length, or in a coding, that is not clear would reach the client as something else. */
function framingProblem(headers: IncomingHttpHeaders): string | undefined {
  const codings = headers['transfer-encoding'];
  if (codings !== undefined && [codings].flat().join(',').trim().toLowerCase() !== 'chunked')
    return 'a Transfer-Encoding other than chunked';
  const length: unknown = headers['content-length'];
  const isClear = length === undefined || (typeof length === 'string' && /^\d{1,15}$/.test(length));
  return isClear ? undefined : 'an invalid Content-Length';
}

function listed(values: string | readonly string[] | undefined): readonly string[] {
  if (values === undefined) return [];
  return typeof values === 'string' ? [values] : values;
}
