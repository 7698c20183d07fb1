// The snapshot on disk: replaced as a whole, private, checked when read.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  formatSnapshot,
  parseSnapshot,
  SnapshotFile,
  type KeptResource,
} from '../../../src/limiter/config/snapshot-file.ts';
import { silentLogger } from '../../../src/lib/log.ts';

const RESOURCES: readonly KeptResource[] = [
  { name: 'ModelRoute/a/r', version: 'v1', json: '{"b":1,"10":2,"text":"ä\\"\\u2028"}' },
  { name: 'Fleet/-/-', version: 'v2', json: '{}' },
  { name: 'ModelRoute/a/s', version: 'v3', json: '{}', secrets: [['redis/password', 'hunter2']] },
];
let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-snapshot-'));
  path = join(folder, 'deep', 'snapshot.json');
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const open = (at = path): SnapshotFile => new SnapshotFile(at, silentLogger(), 1);

async function saved(resources = RESOURCES): Promise<void> {
  const file = open();
  file.save(() => resources);
  await file.flush();
}

describe('a snapshot file', () => {
  test('gives back what was saved, and is for its owner alone', async () => {
    await saved();
    expect(await open().load()).toEqual(RESOURCES);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(folder, 'deep'))).toEqual(['snapshot.json']);
  });

  test('of nothing is a snapshot, no file is none', async () => {
    expect(await open().load()).toBeUndefined();
    await saved([]);
    expect(await open().load()).toEqual([]);
  });

  test('is made after the turn that saves, in which the operator is answered', async () => {
    const file = open();
    let isMade = false;
    file.save(() => {
      isMade = true;
      return RESOURCES;
    });
    expect(isMade).toBe(false);
    await file.flush();
    expect(isMade).toBe(true);
  });

  test('holds the newest of many saves, and writes few times', async () => {
    const file = open();
    let writes = 0;
    for (let index = 0; index <= 100; index += 1) {
      file.save(() => {
        writes += 1;
        return [{ name: 'n', version: String(index), json: '{}' }];
      });
    }
    await file.flush();
    expect(await open().load()).toMatchObject([{ version: '100' }]);
    expect(writes).toBeLessThan(4);
  });

  test('that cannot be written stops nothing; a later save works', async () => {
    await writeFile(join(folder, 'deep'), 'in the way');
    await saved();
    await rm(join(folder, 'deep'));
    await saved();
    expect(await open().load()).toEqual(RESOURCES);
  });

  test('that a killed limiter left half written under the temporary name does no harm', async () => {
    await saved();
    await writeFile(`${path}.tmp`, 'half', { mode: 0o644 });
    await saved([]);
    expect(await open().load()).toEqual([]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });
});

describe('a damaged file is set aside and counts as none', () => {
  const text = formatSnapshot(RESOURCES);
  test.each([
    ['empty', ''],
    ['cut off', text.slice(0, -20)],
    ['changed in one letter', text.replace('v1', 'v7')],
    ['of a future format', text.replace('"formatVersion":1', '"formatVersion":2')],
    ['something else', '[]'],
    ['null', 'null'],
    ['without resources', '{"formatVersion":1,"checksum":"x"}'],
    ['with strange resources', '{"formatVersion":1,"checksum":"x","resources":[{"name":1}]}'],
  ])('%s', async (_what, damaged) => {
    await saved();
    await writeFile(path, damaged);
    expect(await open().load()).toBeUndefined();
    expect(await readdir(join(folder, 'deep'))).toEqual(['snapshot.json.corrupt']);
    expect(await readFile(`${path}.corrupt`, 'utf8')).toBe(damaged);
    await saved();
    expect(await open().load()).toEqual(RESOURCES);
  });

  test('no changed byte goes unnoticed', () => {
    const bytes = Buffer.from(text);
    fc.assert(
      fc.property(fc.nat(bytes.length - 2), fc.integer({ min: 1, max: 127 }), (at, flip) => {
        const changed = Buffer.from(bytes);
        changed[at] = changed[at]! ^ flip;
        const parsed = parseSnapshot(changed.toString());
        expect(typeof parsed === 'string' || JSON.stringify(parsed) === JSON.stringify(RESOURCES)).toBe(true);
      }),
    );
  });

  test('the reason never repeats what is in the file', () => {
    expect(parseSnapshot('{"password": hunter2')).not.toContain('hunter2');
  });
});

test('any resources survive the file', () => {
  const resource = fc.record({ name: fc.string(), version: fc.string(), json: fc.json() });
  fc.assert(
    fc.property(fc.array(resource), (resources) => {
      expect(parseSnapshot(formatSnapshot(resources))).toEqual(resources);
    }),
  );
});
