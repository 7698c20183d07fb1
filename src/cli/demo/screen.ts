// CLI, demo, screen: lines for people. Colours only on a terminal; off it plain lines, one fact each.

const terminal = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
const paint =
  (code: number) =>
  (text: string): string =>
    terminal ? `\u001b[${code}m${text}\u001b[0m` : text;

export const bold = paint(1);
export const dim = paint(2);
export const red = paint(31);
export const green = paint(32);
export const yellow = paint(33);

export function heading(text: string): void {
  console.log(`\n${bold(text)}`);
}

export function line(text: string): void {
  console.log(`  ${text}`);
}

/** A row of marks, one per answer: passed or refused. Long rows are cut. */
export function marks(passed: readonly boolean[]): string {
  const shown = passed.slice(0, 60).map((one) => (one ? green('●') : red('○')));
  return terminal ? `${shown.join('')}${passed.length > 60 ? ' …' : ''}` : '';
}
