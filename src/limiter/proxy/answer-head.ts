// Limiter, proxy: the head of an upstream's answer, checked. In: status, reason and headers as the upstream sent them; out: what may
// go on to a client, or why nothing may. Pure: whatever comes in, nothing here throws and nothing invalid goes out.
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

const REASON = /^[\t\x20-\x7e]*$/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/i;
/** What a field value must not hold: RFC 9110, 5.5, has it replaced by a space. Bytes from 0x80 (obs-text) pass as they are. */
const NOT_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/g;

/** Checks a final answer (no 1xx). */
export function checkHead(status: number, reason: string, headers: IncomingHttpHeaders): CheckedHead | InvalidHead {
  if (!Number.isInteger(status) || status < 200 || status > 599) return { problem: `the status ${status}` };
  const problem = framingProblem(headers);
  if (problem !== undefined) return { problem };
  const hasReason = REASON.test(reason);
  const sent = fieldsOf(headers, unforwarded(status, headers));
  const checked = sent.flatMap(([name, value]): [string, string][] =>
    TOKEN.test(name) ? [[name, value.replace(NOT_A_VALUE, ' ')]] : [],
  );
  const areSame = checked.length === sent.length && checked.every(([, value], index) => value === sent[index]?.[1]);
  return {
    status,
    reason: hasReason ? reason : (STATUS_CODES[status] ?? ''),
    headers: checked,
    isMended: !hasReason || !areSame,
  };
}

function fieldsOf(headers: IncomingHttpHeaders, dropped: ReadonlySet<string>): readonly (readonly [string, string])[] {
  const kept = Object.entries(headers).filter(([name]) => !dropped.has(name));
  return kept.flatMap(([name, values]) => listed(values).map((value) => [name, value] as const));
}

/** A body of a length, or in a coding, that is not clear would reach the client as something else. */
function framingProblem(headers: IncomingHttpHeaders): string | undefined {
  const codings = listed(headers['transfer-encoding']);
  if (codings.length > 0 && codings.join(',').trim().toLowerCase() !== 'chunked')
    return 'a Transfer-Encoding other than chunked';
  const lengths = new Set(listed(headers['content-length']));
  if (lengths.size > 1 || [...lengths].some((length) => !/^\d{1,15}$/.test(length))) return 'an invalid Content-Length';
  return undefined;
}

/** A length beside chunks is wrong, and 204 has none (RFC 9110, 8.6); the other framing headers are hop-by-hop. */
function unforwarded(status: number, headers: IncomingHttpHeaders): ReadonlySet<string> {
  const hasNoLength = status === 204 || headers['transfer-encoding'] !== undefined;
  return new Set(hasNoLength ? ['content-length'] : []);
}

function listed(values: string | readonly string[] | undefined): readonly string[] {
  if (values === undefined) return [];
  return typeof values === 'string' ? [values] : values;
}
