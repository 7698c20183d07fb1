// Controller: the certificate of the push port. Input: a folder, and the names by which limiters dial. Output: a CA and a leaf
// in it, made when they are missing; limiters are given `ca.crt`.
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
  type Extension,
} from '@peculiar/x509';
import { randomBytes, webcrypto, X509Certificate as OpenSslCertificate } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errorCode } from '../lib/error-code.ts';
import { messageOf } from '../lib/log.ts';
import type { TlsPair } from './push-credentials.ts';

export interface TlsFiles extends TlsPair {
  /** Where limiters find the CA that they must trust. */
  readonly caFile: string;
  /** true: the leaf was made now. */
  readonly isNew: boolean;
}

/** A TLS folder that cannot be used: the message names the file and what to do. */
export class TlsFolderError extends Error {}

interface Folder {
  readonly path: string;
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly caKey?: string;
}

const CURVE = { name: 'ECDSA', namedCurve: 'P-256' };
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const LEAF_DAYS = 365;
/** A leaf of our own is made anew at a start this long before its end. */
const RENEW_MS = 30 * DAY_MS;
/** Limiters whose clock is behind must still accept the certificate. */
const BACKDATE_MS = 3_600_000;
const ALWAYS_NAMED = ['localhost', '127.0.0.1', '::1'];
const CA_NAME = 'CN=weir operator CA';

/**
 * Loads `tls.crt` and `tls.key`. Without them a CA (`ca.crt`, `ca.key`) and a leaf are made; a leaf of that CA that lacks a
 * name or ends within 30 days is replaced. A certificate that came without `ca.key` is never touched.
 * @throws TlsFolderError when the folder cannot be used.
 */
export async function loadOrMakeCertificate(path: string, names: readonly string[]): Promise<TlsFiles> {
  const wanted = [...new Set([...ALWAYS_NAMED, ...names])];
  try {
    const folder = await readFolder(path);
    const caFile = join(path, 'ca.crt');
    const complaint = complaintOf(folder, folder.caKey === undefined ? names : wanted);
    if (complaint === undefined) return { cert: folder.cert ?? '', key: folder.key ?? '', caFile, isNew: false };
    if (folder.caKey === undefined && Object.keys(folder).length > 1) throw new TlsFolderError(complaint);
    return { ...(await makeLeaf(folder, [...wanted, hostname()])), caFile, isNew: true };
  } catch (error) {
    if (error instanceof TlsFolderError) throw error;
    throw new TlsFolderError(`cannot use the TLS folder ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Why the leaf cannot be used as it is; undefined when it can. */
function complaintOf({ path, cert, key }: Folder, names: readonly string[]): string | undefined {
  if (cert === undefined || key === undefined) return `${path} lacks tls.crt or tls.key: add it, or empty the folder`;
  const leaf = new OpenSslCertificate(cert);
  if (Date.parse(leaf.validTo) - RENEW_MS < Date.now()) {
    if (Date.parse(leaf.validTo) <= Date.now()) return `${join(path, 'tls.crt')} ended on ${leaf.validTo}: replace it`;
    if (leaf.issuer === CA_NAME) return `${join(path, 'tls.crt')} ends soon`;
  }
  const lacking = names.find((name) => (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) === undefined);
  return lacking === undefined ? undefined : `${join(path, 'tls.crt')} does not name ${lacking}: replace it`;
}

async function readFolder(path: string): Promise<Folder> {
  const [cert, key, ca, caKey] = await Promise.all(
    ['tls.crt', 'tls.key', 'ca.crt', 'ca.key'].map((file) => readIfThere(join(path, file))),
  );
  const found = Object.entries({ cert, key, ca, caKey }).filter(([, text]) => text !== undefined);
  return { path, ...(Object.fromEntries(found) as Omit<Folder, 'path'>) };
}

async function makeLeaf(folder: Folder, names: readonly string[]): Promise<TlsPair> {
  await mkdir(folder.path, { recursive: true });
  const { ca, caKey } = await authorityOf(folder);
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.create({
    ...term(LEAF_DAYS),
    subject: 'CN=weir operator',
    issuer: new X509Certificate(ca).subject,
    publicKey: keys.publicKey,
    signingKey: await webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(caKey), CURVE, false, ['sign']),
    signingAlgorithm: SIGNATURE,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }))),
    ],
  });
  const pair = { cert: `${certificate.toString('pem')}\n`, key: await pemOf(keys.privateKey) };
  await replaceFile(join(folder.path, 'tls.key'), pair.key);
  await replaceFile(join(folder.path, 'tls.crt'), pair.cert);
  return pair;
}

/** The CA of the folder, made when there is none. Limiters may read its certificate, nobody else its key. */
async function authorityOf({ path, ca, caKey }: Folder): Promise<{ ca: string; caKey: string }> {
  if (ca !== undefined && caKey !== undefined) return { ca, caKey };
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const extensions: Extension[] = [
    new BasicConstraintsExtension(true, 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ];
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...term(CA_DAYS),
    name: CA_NAME,
    keys,
    signingAlgorithm: SIGNATURE,
    extensions,
  });
  const made = { ca: `${certificate.toString('pem')}\n`, caKey: await pemOf(keys.privateKey) };
  await replaceFile(join(path, 'ca.key'), made.caKey);
  await replaceFile(join(path, 'ca.crt'), made.ca, 0o644);
  return made;
}

function term(days: number): { serialNumber: string; notBefore: Date; notAfter: Date } {
  const nowMs = Date.now();
  return {
    // Positive, and never with a zero byte first.
    serialNumber: `5${randomBytes(16).toString('hex').slice(1)}`,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + days * DAY_MS),
  };
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  return `${PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all, whoever reads meanwhile. */
async function replaceFile(file: string, text: string, mode = 0o600): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  await writeFile(temporary, text, { mode });
  await rename(temporary, file);
}
