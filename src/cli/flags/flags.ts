// CLI: the values that flags of several commands take. Input: text from the command line or the environment. Output:
// checked values; a text that cannot be meant is an InvalidArgumentError, which ends with exit code 2.
import { InvalidArgumentError, Option, type Command } from 'commander';
import { isIP } from 'node:net';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;

/** A flag that can also be given by an environment variable; --help names both. */
export function flag(flags: string, env: string, description: string): Option {
  return new Option(flags, description).env(env);
}

const SWITCH_WORDS: ReadonlyMap<string, boolean> = new Map([
  ...['true', '1', 'yes', 'on'].map((word) => [word, true] as const),
  ...['false', '0', 'no', 'off'].map((word) => [word, false] as const),
]);

/**
 * Commander takes a flag without a value as given as soon as its variable is there, whatever it says: here what it
 * says counts.
 */
export function readSwitches(command: Command): void {
  for (const option of command.options) {
    const name = option.attributeName();
    if (!option.isBoolean() || option.envVar === undefined || command.getOptionValueSource(name) !== 'env') continue;
    const text = process.env[option.envVar] ?? '';
    const isOn = SWITCH_WORDS.get(text.toLowerCase());
    if (isOn === undefined) command.error(`error: ${option.envVar} must be true or false, not "${text}"`);
    command.setOptionValueWithSource(name, isOn, 'env');
  }
}

/** For flags that take several values: repeated, or with commas between them. */
export function listOf(check: (item: string) => string): (text: string, previous: readonly string[]) => string[] {
  return (text, previous) => {
    const items = text.split(',').map((item) => item.trim());
    return [...previous, ...items.filter((item) => item !== '').map(check)];
  };
}

/** `host:port`, `[v6]:port` or `:port` (then on `127.0.0.1`); port 0 = any free one. */
export function parseListen(text: string): { host: string; port: number } {
  const { host, port } = splitHostPort(text);
  return { host: host === '' ? '127.0.0.1' : host, port };
}

/** `host:port` of something to dial. @returns the text as it was. */
export function parseHostPort(text: string): string {
  const { host, port } = splitHostPort(text);
  if (host === '' || port === 0) throw new InvalidArgumentError('expected host:port, such as redis.cache:6379');
  return text;
}

/** A CIDR, a host name, `*.example.com`, or `*` for every name. */
export function parseEgress(text: string): string {
  const [address = '', bits, ...rest] = text.split('/');
  const isCovered = bits === undefined ? isName(address) : rest.length === 0 && isRange(address, bits);
  if (isCovered) return text;
  throw new InvalidArgumentError(`"${text}" is not a CIDR (10.0.0.0/8), a host name, *.example.com or *`);
}

function isName(text: string): boolean {
  return text === '*' || isIP(text) !== 0 || isHost(text.replace(/^\*\./, ''));
}

function isRange(address: string, bits: string): boolean {
  const most = isIP(address) === 4 ? 32 : 128;
  return isIP(address) !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= most;
}

/** A name or an address by which something is dialled. */
export function parseHost(text: string): string {
  if (isIP(text) === 0 && !isHost(text)) throw new InvalidArgumentError(`"${text}" is not a host name or an address`);
  return text;
}

/** The name of a namespace. */
export function parseNamespace(text: string): string {
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) {
    throw new InvalidArgumentError(`"${text}" is not the name of a namespace`);
  }
  return text;
}

export function parseSeconds(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected whole seconds, such as 90');
}

function splitHostPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new InvalidArgumentError('expected host:port, such as 127.0.0.1:18000');
  return { host: match[1] ?? match[2] ?? '', port };
}

function isHost(text: string): boolean {
  return (
    text.length <= 253 &&
    /^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$/.test(text)
  );
}
