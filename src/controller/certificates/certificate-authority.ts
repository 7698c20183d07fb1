// Controller: certificates are made here. Input: an end, names, a CA. Output: a CA or a leaf with its key, PEM; and
// what can be said of PEM that came from elsewhere.
import 'reflect-metadata';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { createPrivateKey, randomBytes, webcrypto, X509Certificate as OpenSslCertificate } from 'node:crypto';
import { isIP } from 'node:net';

/** A certificate (or a chain, the leaf first) and its key, PEM. */
export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
}

const CURVE = { name: 'ECDSA', namedCurve: 'P-256' };
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' };
/** Limiters whose clock is behind must still accept the certificate. */
const BACKDATE_MS = 3_600_000;
const CA_NAME = 'weir operator CA';
const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** Makes a CA. Each has a name of its own: two in one bundle must not be taken for each other. */
export async function makeAuthority(endsMs: number): Promise<CertificatePair> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...term(endsMs),
    name: `CN=${CA_NAME} ${randomBytes(4).toString('hex')}`,
    keys,
    signingAlgorithm: SIGNATURE,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: `${certificate.toString('pem')}\n`, key: await pemOf(keys.privateKey) };
}

/** Makes a server's certificate for DNS names and addresses, signed by the CA. */
export async function issueLeaf(
  ca: CertificatePair,
  names: readonly string[],
  endsMs: number,
): Promise<CertificatePair> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const issuer = new X509Certificate(ca.cert);
  const certificate = await X509CertificateGenerator.create({
    ...term(endsMs),
    subject: 'CN=weir operator',
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey: await webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(ca.key), CURVE, false, ['sign']),
    signingAlgorithm: SIGNATURE,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }))),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return { cert: `${certificate.toString('pem')}\n`, key: await pemOf(keys.privateKey) };
}

/** When the (first) certificate ends. @throws Error when the text holds none. */
export function endOf(cert: string): number {
  return Date.parse(new OpenSslCertificate(cert).validTo);
}

/** The certificates of a bundle, each as PEM with a line break at its end. */
export function certificatesIn(bundle: string): string[] {
  return (bundle.match(PEM_BLOCK) ?? []).map((block) => `${block}\n`);
}

/** The first name that the certificate is not valid for. */
export function nameMissingIn(cert: string, names: readonly string[]): string | undefined {
  const leaf = new OpenSslCertificate(cert);
  return names.find((name) => (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) === undefined);
}

/** Whether one of the bundle's CAs signed the certificate; a chain is followed only to its last certificate. */
export function isSignedByOneOf(cert: string, bundle: string): boolean {
  const last = certificatesIn(cert).at(-1) ?? cert;
  const certificate = new OpenSslCertificate(last);
  return certificatesIn(bundle).some((pem) => {
    const ca = new OpenSslCertificate(pem);
    return certificate.fingerprint256 === ca.fingerprint256 || isIssuer(ca, certificate);
  });
}

/** Whether the CA is one that weir makes: those are renewed, others are left alone. */
export function isOurAuthority(issuer: string): boolean {
  return issuer.startsWith(`CN=${CA_NAME}`);
}

/**
 * What is wrong with a pair, by the names under which its parts are kept; undefined when it can be served.
 * Nothing of the key is in the text.
 */
export function complaintAboutPair(
  pair: Partial<CertificatePair>,
  certName: string,
  keyName: string,
): string | undefined {
  if (pair.cert === undefined) return `${certName} is missing`;
  if (pair.key === undefined) return `${keyName} is missing`;
  const certificate = attempt(() => new OpenSslCertificate(pair.cert ?? ''));
  if (certificate === undefined) return `${certName} is not a certificate in PEM`;
  const key = attempt(() => createPrivateKey(pair.key ?? ''));
  if (key === undefined) return `${keyName} is not a private key in PEM without a passphrase`;
  return certificate.checkPrivateKey(key) ? undefined : `${keyName} is not the key of ${certName}`;
}

function isIssuer(ca: OpenSslCertificate, certificate: OpenSslCertificate): boolean {
  return certificate.checkIssued(ca) && certificate.verify(ca.publicKey);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function term(endsMs: number): { serialNumber: string; notBefore: Date; notAfter: Date } {
  return {
    // Positive, and never with a zero byte first.
    serialNumber: `5${randomBytes(16).toString('hex').slice(1)}`,
    notBefore: new Date(Date.now() - BACKDATE_MS),
    notAfter: new Date(endsMs),
  };
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  return `${PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}
