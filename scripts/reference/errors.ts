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
    `Every reply of Weir itself carries one of these codes, in the format of the caller's API (OpenAI, Anthropic, MCP, or RFC 9457 problem
details). [errors.md](../errors.md) says more about refusals.`,
    table(['code', 'HTTP', 'message', 'what to do'], rows),
  ]);
}
