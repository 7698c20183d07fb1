// Limiter, store: what a server says when it does not serve. In: the error of a call; out: its words, fit for logs
// and statuses, and what to do about them.
import { storeWordOf, type Remedy } from '../../contract/store-words.ts';
import { messageOf } from '../../lib/thrown.ts';

/** Longest quotation, in characters. */
const LONGEST_QUOTE = 160;

export interface ServerAnswer {
  /** One line of printable ASCII, bounded; the first word alone where the rest repeats a secret. */
  readonly text: string;
  /** Absent: an answer that is in no row of the table. */
  readonly remedy?: Remedy;
}

/**
 * `secrets`: what was sent to the server and must not come back. Undefined for an error that is no answer of a
 * server.
 */
export function serverAnswerOf(error: unknown, secrets: readonly string[]): ServerAnswer | undefined {
  if (!isReplyError(error)) return undefined;
  const message = messageOf(error);
  const remedy = storeWordOf(message)?.remedy;
  return { text: quoteOf(message, secrets), ...(remedy === undefined ? {} : { remedy }) };
}

/** Asks the shape, not the class: realms differ. */
export function isReplyError(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'ReplyError';
}

/**
 * Servers repeat what they were sent: the arguments of a command that they do not know, the hash and line of a
 * script.
 */
function quoteOf(message: string, secrets: readonly string[]): string {
  const isSafe = secrets.every((secret) => secret === '' || !message.includes(secret));
  return (isSafe ? message : (/^[A-Z]{2,20}\b/.exec(message)?.[0] ?? 'ERR'))
    .replace(/^ERR Error running script .*?: -/s, '')
    .replace(/,? with args beginning with:.*$/s, '')
    .replace(/,? script: [0-9a-f]{40}, on @user_script:\d+\.?/, '')
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, LONGEST_QUOTE);
}
