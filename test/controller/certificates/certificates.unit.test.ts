// The certificate of the push port: made once, kept, completed, and never silently replaced when it is someone else's.
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, open, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  issueLeaf,
  makeAuthority,
  type CertificatePair,
} from '../../../src/controller/certificates/certificate-authority.ts';
import {
  FolderCertificates,
  loadOrMakeCertificate,
  TlsFolderError,
} from '../../../src/controller/certificates/certificate-folder.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';

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

describe('a folder that somebody else keeps', () => {
  const running: FolderCertificates[] = [];
  const elsewhere = async (names: readonly string[] = ['weir.test']): Promise<CertificatePair & { ca: string }> => {
    const endsMs = Date.now() + 3_600_000;
    const ca = await makeAuthority(endsMs);
    return { ...(await issueLeaf(ca, names, endsMs)), ca: ca.cert };
  };
  /** As the kubelet does it: a new folder, and one link that is turned round. */
  const mount = async (version: string, files: Readonly<Record<string, string>>): Promise<void> => {
    await mkdir(join(folder, version), { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, version, name), text);
    await symlink(version, join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
    for (const name of Object.keys(files)) {
      await symlink(join('..data', name), join(folder, name)).catch(() => undefined);
    }
  };
  const filesOf = ({ cert, key, ca }: CertificatePair & { ca: string }): Record<string, string> => {
    return { 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca };
  };
  const serve = async (): Promise<FolderCertificates> => {
    const source = new FolderCertificates({ folder, names: ['weir.test'], log: silentLogger(), everyMs: 10 });
    running.push(source);
    await source.start();
    return source;
  };

  afterEach(async () => {
    for (const source of running.splice(0)) await source.stop();
  });

  test('a renewed certificate is served as soon as its files are there, with its CA', async () => {
    const [first, second] = [await elsewhere(), await elsewhere()];
    await mount('..1', filesOf(first));
    const source = await serve();
    let changes = 0;
    source.onChange(() => (changes += 1));
    expect(source.current()).toMatchObject({ cert: first.cert, key: first.key, caBundle: first.ca });
    await mount('..2', filesOf(second));
    await waitFor('the new one', () => source.current().cert === second.cert || undefined, { deadlineMs: 5_000 });
    expect(source.current()).toMatchObject({ key: second.key, caBundle: second.ca });
    expect(changes).toBe(1);
    await expect(stat(join(folder, 'ca.key'))).rejects.toThrow(/ENOENT/);
  });

  test('one that cannot be served is said to be so, and the last good one stays', async () => {
    const [good, other] = [await elsewhere(), await elsewhere()];
    await mount('..1', filesOf(good));
    const source = await serve();
    await mount('..2', filesOf({ ...good, key: other.key }));
    await waitFor('the fault', () => source.fault, { deadlineMs: 5_000 });
    expect(source.fault).toMatch(/tls\.key is not the key of .*tls\.crt/);
    await mount('..3', filesOf(await elsewhere(['another.test'])));
    await waitFor('the other fault', () => (source.fault?.includes('weir.test') ? true : undefined), {
      deadlineMs: 5_000,
    });
    expect(source.current().cert).toBe(good.cert);
    await mount('..4', filesOf(other));
    await waitFor('its end', () => source.fault === undefined || undefined, { deadlineMs: 5_000 });
    expect(source.current().cert).toBe(other.cert);
  });

  test('a folder that was emptied is not filled with a CA that nobody knows', async () => {
    const made = await loadOrMakeCertificate(folder, ['weir.test']);
    const source = await serve();
    await rm(folder, { recursive: true });
    await waitFor('the fault', () => source.fault, { deadlineMs: 5_000 });
    expect(source.current().cert).toBe(made.cert);
    await expect(stat(folder)).rejects.toThrow(/ENOENT/);
  });

  test('nor is one that is emptied in the middle of a reading', async () => {
    const made = await loadOrMakeCertificate(folder, ['weir.test']);
    const source = await serve();
    // A pipe holds the reading until its text comes.
    const pipe = join(folder, 'ca.crt');
    execFileSync('mkfifo', [`${pipe}.new`]);
    await rename(`${pipe}.new`, pipe);
    const writing = await open(pipe, 'w');
    // What was asked for before this is read before it.
    for (const file of ['tls.crt', 'tls.key', 'ca.key']) await readFile(join(folder, file));
    await rm(folder, { recursive: true });
    await writing.writeFile(made.caBundle);
    await writing.close();
    await waitFor('the fault', () => source.fault, { deadlineMs: 5_000 });
    expect(source.current().cert).toBe(made.cert);
    await expect(stat(folder)).rejects.toThrow(/ENOENT/);
  });
});
