// Controller: certificates in a folder. Input: a folder, and the names by which limiters dial. Output: a CA and a
// leaf in it, made when they are missing, and read again when whoever else keeps the folder (cert-manager, say) has
// replaced them.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import type { Logger } from '../../lib/log.ts';
import { errorCode, messageOf } from '../../lib/thrown.ts';
import {
  complaintAboutPair,
  endOf,
  isOurAuthority,
  issueLeaf,
  makeAuthority,
  nameMissingIn,
  type CertificatePair,
} from './certificate-authority.ts';
import { CertificateHolder, type CertificateSource, type ServedCertificate } from './certificate-source.ts';

export interface TlsFiles extends ServedCertificate {
  /** Where limiters find the CA that they must trust. */
  readonly caFile: string;
  /** true: the leaf was made now. */
  readonly isNew: boolean;
}

/** A TLS folder that cannot be used: the message names the file and what to do. */
export class TlsFolderError extends Error {}

export interface CertificateFolderSettings {
  readonly folder: string;
  readonly names: readonly string[];
  readonly log: Logger;
  /** How often the files are read, ms. */
  readonly everyMs?: number;
}

interface Folder {
  readonly path: string;
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly caKey?: string;
}

const DAY_MS = 86_400_000;
const CA_MS = 3650 * DAY_MS;
const LEAF_MS = 365 * DAY_MS;
/** Our own leaf is renewed this long before it expires. */
const RENEW_MS = 30 * DAY_MS;
const ALWAYS_NAMED = ['localhost', '127.0.0.1', '::1'];
const READ_EVERY_MS = 5_000;

/** Serves what the folder holds. Files that cannot be used, or are half replaced, change nothing until they can. */
export class FolderCertificates implements CertificateSource {
  /** What is wrong with the folder now. */
  fault: string | undefined;
  readonly #settings: CertificateFolderSettings;
  readonly #holder = new CertificateHolder();
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(settings: CertificateFolderSettings) {
    this.#settings = settings;
  }

  current(): ServedCertificate {
    return this.#holder.current();
  }

  onChange(listener: () => void): () => void {
    return this.#holder.onChange(listener);
  }

  /** @throws TlsFolderError when the folder cannot be used. */
  async start(): Promise<void> {
    const { folder, names, everyMs = READ_EVERY_MS } = this.#settings;
    this.#holder.set(await loadOrMakeCertificate(folder, names));
    this.#timer = setInterval(() => {
      this.#reading = this.#reading.then(() => this.#readAgain());
    }, everyMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#reading;
  }

  async #readAgain(): Promise<void> {
    const { folder, names, log } = this.#settings;
    try {
      // A CA is made at a start only: an empty folder is a volume that is not there, or about to be filled.
      const found = await readFolder(folder);
      if (found.cert === undefined || found.key === undefined)
        throw new TlsFolderError(`${folder} lacks tls.crt or tls.key`);
      // What was read now, not what is there a moment later.
      const isChanged = this.#holder.set(await certificateOf(found, names));
      this.fault = undefined;
      if (isChanged)
        log.info('certificate loaded', { folder, expires: new Date(endOf(this.current().cert)).toISOString() });
    } catch (error) {
      if (this.fault !== messageOf(error)) log.error('certificate rejected', { folder, error: messageOf(error) });
      this.fault = messageOf(error);
    }
  }
}

/**
 * Loads `tls.crt` and `tls.key`. Without them a CA (`ca.crt`, `ca.key`) and a leaf are made; a leaf of that CA that
 * lacks a name or ends within 30 days is replaced. A certificate that came without `ca.key` is never touched.
 * @throws TlsFolderError when the folder cannot be used.
 */
export async function loadOrMakeCertificate(path: string, names: readonly string[]): Promise<TlsFiles> {
  try {
    return await certificateOf(await readFolder(path), names);
  } catch (error) {
    if (error instanceof TlsFolderError) throw error;
    throw new TlsFolderError(`cannot use the TLS folder ${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function certificateOf(folder: Folder, names: readonly string[]): Promise<TlsFiles> {
  const wanted = [...new Set([...ALWAYS_NAMED, ...names])];
  const { cert = '', key = '', ca: caBundle = '' } = folder;
  const caFile = join(folder.path, 'ca.crt');
  const complaint = complaintOf(folder, folder.caKey === undefined ? names : wanted);
  if (complaint === undefined) return { cert, key, caBundle, caFile, isNew: false };
  if (folder.caKey === undefined && Object.keys(folder).length > 1) throw new TlsFolderError(complaint);
  return { ...(await makeLeaf(folder, [...wanted, hostname()])), caFile, isNew: true };
}

/** Why the leaf cannot be used as it is; undefined when it can. */
function complaintOf({ path, cert, key, caKey }: Folder, names: readonly string[]): string | undefined {
  if (cert === undefined || key === undefined) return `${path} lacks tls.crt or tls.key: add it, or empty the folder`;
  const complaint = complaintAboutPair({ cert, key }, join(path, 'tls.crt'), join(path, 'tls.key'));
  if (complaint !== undefined) return `${complaint}: replace it`;
  const leaf = new X509Certificate(cert);
  if (Date.parse(leaf.validTo) - RENEW_MS < Date.now()) {
    if (Date.parse(leaf.validTo) <= Date.now())
      return `${join(path, 'tls.crt')} expired on ${leaf.validTo}: replace it`;
    if (caKey !== undefined && isOurAuthority(leaf.issuer)) return `${join(path, 'tls.crt')} expires soon`;
  }
  const lacking = nameMissingIn(cert, names);
  return lacking === undefined ? undefined : `${join(path, 'tls.crt')} does not name ${lacking}: replace it`;
}

async function readFolder(path: string): Promise<Folder> {
  const [cert, key, ca, caKey] = await Promise.all(
    ['tls.crt', 'tls.key', 'ca.crt', 'ca.key'].map((file) => readIfThere(join(path, file))),
  );
  const found = Object.entries({ cert, key, ca, caKey }).filter(([, text]) => text !== undefined);
  return { path, ...(Object.fromEntries(found) as Omit<Folder, 'path'>) };
}

async function makeLeaf(folder: Folder, names: readonly string[]): Promise<ServedCertificate> {
  await mkdir(folder.path, { recursive: true });
  const ca = await authorityOf(folder);
  // A host name is not always one that a certificate can hold.
  const usable = names.filter((name) => isIP(name) !== 0 || /^[a-zA-Z0-9.*-]+$/.test(name));
  const pair = await issueLeaf(ca, usable, Math.min(Date.now() + LEAF_MS, endOf(ca.cert)));
  await replaceFile(join(folder.path, 'tls.key'), pair.key);
  await replaceFile(join(folder.path, 'tls.crt'), pair.cert);
  return { ...pair, caBundle: ca.cert };
}

/** The CA of the folder, made when there is none. Limiters may read its certificate, nobody else its key. */
async function authorityOf({ path, ca, caKey }: Folder): Promise<CertificatePair> {
  if (ca !== undefined && caKey !== undefined) return { cert: ca, key: caKey };
  const made = await makeAuthority(Date.now() + CA_MS);
  await replaceFile(join(path, 'ca.key'), made.key);
  await replaceFile(join(path, 'ca.crt'), made.cert, 0o644);
  return made;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Atomic for concurrent readers. */
async function replaceFile(file: string, text: string, mode = 0o600): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  await writeFile(temporary, text, { mode });
  await rename(temporary, file);
}
