// Build step: copies what the compiler leaves behind (Lua scripts, .proto files, pages) from src/ to the same place
// in dist/.
import { cpSync } from 'node:fs';
import { extname } from 'node:path';

const ASSETS = new Set(['.lua', '.proto', '.html', '.css']);

cpSync('src', 'dist', {
  recursive: true,
  filter: (source) => extname(source) === '' || ASSETS.has(extname(source)),
});
