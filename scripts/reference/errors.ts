// Reference: the error codes that a limiter answers; in: their table, out: docs/reference/errors.md.
import { ERRORS } from '../../src/lib/errors.ts';
import { code, page, prose, table } from './markdown.ts';

export function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(([name, { status, message, fix }]) => [
    code(name),
    String(status),
    prose(message),
    prose(fix),
  ]);
  return page('Error codes', 'src/lib/errors.ts', [
    `Every error that Weir itself returns has one of these codes, in the format of the caller's API: OpenAI, Anthropic, MCP, or RFC 9457
problem details. See [answers.md](../answers.md) for the bodies and headers, and for when a client should retry.`,
    table(['code', 'HTTP', 'message', 'what to do'], rows),
  ]);
}
