// Tests `weir validate`: what it prints and how it ends, for files, folders and standard input.
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runValidate } from '../../src/cli/validate-command.ts';
import type { ValidateOptions } from '../../src/cli/validate-command.ts';
import { loadCorpus } from '../crd/corpus.ts';

const CORPUS = fileURLToPath(new URL('../crd/corpus', import.meta.url));
const GOOD = 'apiVersion: weir.dev/v1alpha1\nkind: ModelRoute\nmetadata: {name: llama}\nspec: {modelName: m}\n';
const BAD = 'apiVersion: weir.dev/v1alpha1\nkind: ModelRoute\nmetadata: {name: bad, namespace: a}\nspec:\n  foo: 1\n';
const SECRET = 'apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: a}\n';

interface Run {
  readonly code: number;
  readonly printed: string[];
  readonly complaints: string[];
}

interface Report {
  readonly valid: boolean;
  readonly documents: readonly {
    readonly file: string;
    readonly valid: boolean;
    readonly errors: readonly { stage: string; path: string; type: string; message: string; line: number }[];
  }[];
}

async function run(paths: readonly string[], options: Partial<ValidateOptions> = {}, input = ''): Promise<Run> {
  const printed: string[] = [];
  const complaints: string[] = [];
  const code = await runValidate(
    paths,
    { output: 'text', recursive: false, requireRedis: false, ...options },
    {
      input: Readable.from([input]),
      print: (line) => printed.push(line),
      complain: (line) => complaints.push(line),
    },
  );
  return { code, printed, complaints };
}

describe('weir validate', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-validate-'));
    await mkdir(join(folder, 'inner'));
    await writeFile(join(folder, 'a.yaml'), `${GOOD}---\n${SECRET}---\n# nothing\n---\n${GOOD}`);
    await writeFile(join(folder, 'inner', 'b.yml'), BAD);
    await writeFile(join(folder, '.a.yaml.swp.yaml'), '{');
    await writeFile(join(folder, 'notes.txt'), '{');
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test('says of each object that it is well, and of others that they are none of ours', async () => {
    const file = join(folder, 'a.yaml');
    expect(await run([folder])).toEqual({
      code: 0,
      printed: [
        `${file}:1: ModelRoute llama ok`,
        `${file}:6: Secret a/s skipped: not a Weir object`,
        `${file}:12: ModelRoute llama ok`,
      ],
      complaints: [],
    });
  });

  test('prints every error with its line, path and stage, and ends with 1', async () => {
    const { code, printed } = await run([join(folder, 'inner', 'b.yml')]);
    const file = join(folder, 'inner', 'b.yml');
    expect(code).toBe(1);
    expect(printed).toEqual([
      `${file}:4: spec: at least one of modelName or loraAdapters must be set (cel)`,
      `${file}:5: spec.foo: unknown field (decode)`,
    ]);
  });

  test('enters folders in folders when told to', async () => {
    expect((await run([folder], { recursive: true })).code).toBe(1);
  });

  test('reads standard input', async () => {
    expect(await run(['-'], {}, GOOD)).toMatchObject({ code: 0, printed: ['-:1: ModelRoute llama ok'] });
  });

  test('tells where the syntax is broken', async () => {
    const { code, printed } = await run(['-'], {}, `${GOOD}---\nspec: {\n`);
    expect(code).toBe(1);
    expect(printed[1]).toMatch(/^-:\d+: .*\(decode\)$/);
  });

  test('ends with 2 when something cannot be read, and still judges the rest', async () => {
    const { code, printed, complaints } = await run([join(folder, 'absent.yaml'), join(folder, 'a.yaml')]);
    expect({ code, printed: printed.length }).toEqual({ code: 2, printed: 3 });
    expect(complaints.join()).toMatch(/absent.yaml: cannot be read: .*ENOENT/);
    expect((await run(['-'], {}, '# nothing\n')).code).toBe(2);
  });

  test('knows the status RedisRequired of operators without a default', async () => {
    const manifest = GOOD.replace(
      'modelName: m',
      'modelName: m, rateLimiting: {limits: [{name: a, bucket: {maxTokens: 1, refillPeriod: 1m}}]}',
    );
    expect((await run(['-'], {}, manifest)).code).toBe(0);
    const { code, printed } = await run(['-'], { requireRedis: true }, manifest);
    expect(code).toBe(1);
    expect(printed.join()).toContain(
      "rateLimiting with scope Shared requires Redis: set rateLimiting.redis or the operator's default (status)",
    );
  });

  test('says of the whole corpus what its headers say, as JSON', async () => {
    const { code, printed } = await run([CORPUS], { output: 'json' });
    expect(code).toBe(1);
    const report = JSON.parse(printed.join('\n')) as Report;
    expect(report.valid).toBe(false);
    const byFile = new Map(report.documents.map((document) => [document.file, document]));
    for (const { name, expected } of loadCorpus()) {
      const document = byFile.get(join(CORPUS, `${name}.yaml`))!;
      expect({ name, valid: document.valid }).toEqual({ name, valid: expected.length === 0 });
      for (const { stage, type = 'Invalid', path, text } of expected) {
        const found = document.errors.filter((error) => error.stage === stage && error.path === path);
        expect(found.map((error) => `${name} ${error.type} ${error.message}`).join('\n')).toContain(text);
        expect(found.map((error) => error.type)).toContain(type);
        expect(found[0]!.line).toBeGreaterThan(1);
      }
    }
  });
});
