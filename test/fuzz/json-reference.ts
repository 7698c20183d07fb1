// Fuzz: what the JSON scan must find, said in another way: JSON.parse, and regular expressions over a text that is
// known to be JSON. In: bytes; out: the kind of the body, and what is read of it.
import { asRecord } from '../../src/limiter/request/json-body.ts';

const READ = {
  message: ['model', 'stream', 'jsonrpc', 'id', 'method', 'params'],
  params: ['name', 'uri', 'protocolVersion'],
};
const ALL_READ = [...READ.message, ...READ.params];
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,]+/g;

export type Reference = { readonly kind: 'refused' } | { readonly kind: 'json'; readonly value: unknown };

/** What a body is. `undefined`: it does not begin like JSON in UTF-8, or is empty. */
export function jsonReference(bytes: Buffer): Reference | undefined {
  if (!/^[ \t\r\n]{0,4096}[{[]/.test(bytes.toString('latin1')) || bytes.subarray(0, 4).includes(0)) return undefined;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const value = JSON.parse(text) as unknown;
    const tokens = text.match(TOKEN) ?? [];
    if (isTooDeep(tokens) || tokens.some((token) => /^-?\d/.test(token) && token.length > 1000))
      return { kind: 'refused' };
    if (objectsOf(tokens).some(isAmbiguous)) return { kind: 'refused' };
    const read = readOf(value);
    return JSON.stringify(read).includes(BAD) ? { kind: 'refused' } : { kind: 'json', value: read };
  } catch {
    return { kind: 'refused' };
  }
}

const BAD = '<a text that readers differ in>';

function isTooDeep(tokens: readonly string[]): boolean {
  let depth = 0;
  return tokens.some((token) => {
    if (token === '{' || token === '[') depth += 1;
    if (token === '}' || token === ']') depth -= 1;
    return depth > 200;
  });
}

interface Names {
  readonly role: keyof typeof READ;
  readonly names: string[];
}

interface Opened {
  readonly opening: string;
  readonly names: Names | undefined;
}

/** The names of every object of which members are read. */
function objectsOf(tokens: readonly string[]): readonly Names[] {
  const found: Names[] = [];
  const stack: Opened[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token === '}' || token === ']') stack.pop();
    else if (token === '{' || token === '[') {
      const inside = namesHere(token, stack, tokens[index - 1] === ':');
      found.push(...inside);
      stack.push({ opening: token, names: inside[0] });
    } else if (tokens[index + 1] === ':') stack.at(-1)?.names?.names.push(JSON.parse(token) as string);
  }
  return found;
}

/** Where the names of an object that opens here go; empty where nothing is read. */
function namesHere(token: string, stack: readonly Opened[], isMember: boolean): readonly Names[] {
  if (token === '[') return [];
  const top = stack.at(-1);
  if (top === undefined || (stack.length === 1 && top.opening === '[')) return [{ role: 'message', names: [] }];
  const isParams = isMember && top.names?.role === 'message' && top.names.names.at(-1) === 'params';
  return isParams ? [{ role: 'params', names: [] }] : [];
}

function isAmbiguous({ names }: Names): boolean {
  const folded = (name: string): string => name.toUpperCase().toLowerCase();
  return (
    new Set(names).size < names.length ||
    names.some((name) => !name.isWellFormed() || name.includes('\0')) ||
    names.some((name) => ALL_READ.some((read) => folded(read) === folded(name) && read !== name))
  );
}

function readOf(value: unknown): unknown {
  if (!Array.isArray(value)) return projected(asRecord(value) ?? {}, 'message');
  return value.slice(0, 400).map((element: unknown) => {
    const record = asRecord(element);
    return record === undefined ? null : projected(record, 'message');
  });
}

function projected(record: Readonly<Record<string, unknown>>, role: keyof typeof READ): Record<string, unknown> {
  const entries = Object.keys(record)
    .filter((name) => READ[role].includes(name))
    .map((name) => [name, shown(name, record[name])]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}

function shown(name: string, value: unknown): unknown {
  if (typeof value === 'string' && name !== 'id' && (!value.isWellFormed() || value.includes('\0'))) return BAD;
  if (Array.isArray(value)) return [];
  const record = asRecord(value);
  if (record === undefined) return value;
  return name === 'params' ? projected(record, 'params') : {};
}
