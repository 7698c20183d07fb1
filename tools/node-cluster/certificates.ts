// Stage: cluster identities. Input: names and addresses. Output: an authority of the cluster's own and certificates
// signed by it, as PEM.
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type JsonName,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

const curve = { name: 'ECDSA', namedCurve: 'P-256' };
const signature = { name: 'ECDSA', hash: 'SHA-256' };
const dayMs = 86_400_000;

export interface KeyPairPem {
  readonly certificate: string;
  readonly key: string;
}

/** Whom the certificate names: Kubernetes reads the user from the common name and the groups from the organizations. */
export interface Subject {
  readonly user: string;
  readonly groups?: readonly string[];
}

export async function createAuthority(commonName: string): Promise<KeyPairPem> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...serialAndTerm(),
    name: [{ CN: [commonName] }],
    signingAlgorithm: signature,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** `hosts` are DNS names and IP addresses in one list. */
export async function issueServerCertificate(
  authority: KeyPairPem,
  commonName: string,
  hosts: readonly string[],
): Promise<KeyPairPem> {
  const names = hosts.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }));
  return await issue(
    authority,
    [{ CN: [commonName] }],
    [new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]), new SubjectAlternativeNameExtension(names)],
  );
}

export async function issueClientCertificate(
  authority: KeyPairPem,
  { user, groups = [] }: Subject,
): Promise<KeyPairPem> {
  const name: JsonName = [{ CN: [user] }, ...groups.map((group) => ({ O: [group] }))];
  return await issue(authority, name, [new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth])]);
}

/** Keys without a certificate: the API server signs the tokens of service accounts with them. */
export async function createSigningKeys(): Promise<{ key: string; publicKey: string }> {
  const { privateKey, publicKey } = await newKeys();
  const raw = await webcrypto.subtle.exportKey('spki', publicKey);
  return { key: await exportKey(privateKey), publicKey: PemConverter.encode(raw, 'PUBLIC KEY') + '\n' };
}

async function issue(authority: KeyPairPem, subject: JsonName, extensions: Extension[]): Promise<KeyPairPem> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create({
    ...serialAndTerm(),
    subject,
    issuer: new X509Certificate(authority.certificate).subject,
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: signature,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      ...extensions,
    ],
  });
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** Valid from yesterday, so that a clock that a test sets back a little does not end it. */
function serialAndTerm(): { serialNumber: string; notBefore: Date; notAfter: Date } {
  const now = Date.now();
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40; // positive, and never begins with a zero byte
  return {
    serialNumber: serial.toString('hex'),
    notBefore: new Date(now - dayMs),
    notAfter: new Date(now + 3650 * dayMs),
  };
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(curve, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY') + '\n';
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return await webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), curve, false, ['sign']);
}
