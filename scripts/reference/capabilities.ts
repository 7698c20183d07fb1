// Reference: what limiters of this version enforce; in: the table of capabilities, out: docs/reference/capabilities.md.
import { CAPABILITIES } from '../../src/contract/capabilities.ts';
import { code, page, table } from './markdown.ts';

export function capabilitiesPage(): string {
  const rows = CAPABILITIES.map(({ id, path, values, enforced }) => [
    code(id),
    code(path),
    values === undefined ? 'any' : values.map((value) => code(String(value))).join(', '),
    enforced ? 'yes' : 'no',
  ]);
  return page('Capabilities', 'src/contract/capabilities.ts', [
    `An object that uses a field which no limiter of this version enforces is not accepted (\`Accepted=False\`, reason \`NotSupported\`). A
config names the capabilities that it requires, and a limiter that lacks one of them rejects the config (\`Programmed=False\`, reason
\`Rejected\`). To try that, start a limiter with \`--without-capability\`.`,
    table(['capability', 'asked for by the field', 'with the value', 'enforced'], rows),
  ]);
}
