// The certificate of the push port: made once, kept, completed, and never silently replaced when it is someone else's.
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { loadOrMakeCertificate, TlsFolderError } from '../../src/controller/certificates.ts';

let folder = '';

beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'weir-tls-')), 'tls');
});

afterEach(async () => {
  await rm(join(folder, '..'), { recursive: true, force: true });
});

const modeOf = async (file: string): Promise<string> => ((await stat(join(folder, file))).mode & 0o777).toString(8);

test('makes a CA and a leaf for localhost and the given names, keys readable by the owner alone', async () => {
  const made = await loadOrMakeCertificate(folder, ['weir.weir-system.svc', '10.1.2.3']);
  const ca = new X509Certificate(await readFile(made.caFile));
  const leaf = new X509Certificate(made.cert);
  expect(made.isNew).toBe(true);
  expect(ca.ca).toBe(true);
  expect(leaf.checkIssued(ca) && leaf.verify(ca.publicKey)).toBe(true);
  for (const host of ['localhost', 'weir.weir-system.svc']) expect(leaf.checkHost(host)).toBe(host);
  for (const address of ['127.0.0.1', '::1', '10.1.2.3']) expect(leaf.checkIP(address)).toBe(address);
  expect(await Promise.all(['tls.key', 'ca.key', 'tls.crt', 'ca.crt'].map(modeOf))).toEqual([
    '600',
    '600',
    '600',
    '644',
  ]);
});

test('a second start takes the same pair; a new name makes a new leaf of the same CA', async () => {
  const first = await loadOrMakeCertificate(folder, []);
  const second = await loadOrMakeCertificate(folder, []);
  expect(second).toMatchObject({ cert: first.cert, key: first.key, isNew: false });
  const third = await loadOrMakeCertificate(folder, ['operator.example.com']);
  expect(third.isNew).toBe(true);
  const ca = new X509Certificate(await readFile(third.caFile));
  expect(new X509Certificate(third.cert).verify(ca.publicKey)).toBe(true);
});

test('a pair that came from elsewhere is used as it is, or refused with what it lacks', async () => {
  await loadOrMakeCertificate(folder, ['operator.example.com']);
  await rm(join(folder, 'ca.key'));
  const used = await loadOrMakeCertificate(folder, ['operator.example.com']);
  expect(used.isNew).toBe(false);
  const other = loadOrMakeCertificate(folder, ['other.example.com']);
  await expect(other).rejects.toThrow(/tls\.crt does not name other\.example\.com/);
  await rm(join(folder, 'tls.key'));
  await expect(loadOrMakeCertificate(folder, [])).rejects.toThrow(/lacks tls\.crt or tls\.key/);
});

test('a folder that cannot be used is an error that names it', async () => {
  await writeFile(folder, 'a file where the folder should be');
  await expect(loadOrMakeCertificate(folder, [])).rejects.toThrow(TlsFolderError);
});
