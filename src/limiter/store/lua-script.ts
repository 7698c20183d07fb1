// Limiter, store: Lua sources. Input: the name of a script in lua/; output: its text with the includes put in, and
// the SHA-1 by which Redis knows it.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface LuaScript {
  readonly name: string;
  readonly source: string;
  readonly sha: string;
}

const FOLDER = fileURLToPath(new URL('lua/', import.meta.url));
const INCLUDE = /^-- include ([a-z]+)$/gm;

/**
 * Reads lua/<name>.lua; each line `-- include x` becomes the text of lua/include/x.lua. `replaced` gives other texts
 * for includes (tests bring their own time).
 * @throws when a file is missing: the build forgot it.
 */
export function loadScript(name: string, replaced: Readonly<Record<string, string>> = {}): LuaScript {
  const source = readFileSync(`${FOLDER}${name}.lua`, 'utf8').replace(
    INCLUDE,
    (_line, include: string) => replaced[include] ?? readFileSync(`${FOLDER}include/${include}.lua`, 'utf8'),
  );
  return { name, source, sha: createHash('sha1').update(source).digest('hex') };
}
