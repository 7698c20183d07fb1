// Controller: certificates as a Secret holds them. Input: the data of a Secret. Output: the rotation state, or a
// foreign pair that is only served, or which key of the Secret is wrong; and a state as data.
import {
  certificatesIn,
  complaintAboutPair,
  endOf,
  isSignedByOneOf,
  type CertificatePair,
} from './certificate-authority.ts';
import type { RotationState } from './certificate-plan.ts';
import type { ServedCertificate } from './certificate-source.ts';

/** A CA; `key` is gone once it signs no more. */
export interface Authority {
  readonly cert: string;
  readonly key: string | undefined;
  readonly endsMs: number;
}

export interface Leaf extends CertificatePair {
  readonly endsMs: number;
}

export type KeptState = RotationState<Authority, Leaf>;

export type KeptCertificates =
  | { readonly kind: 'ours'; readonly state: KeptState }
  /** Without `ca.key`: its creator (such as cert-manager) renews it. */
  | { readonly kind: 'foreign'; readonly served: ServedCertificate };

/** What a Secret holds cannot be served: the message names its key. */
export class CertificateDataError extends Error {}

/** Base64, as in the `data` of a Secret. */
export type SecretData = Readonly<Record<string, string>>;

interface Notes {
  readonly leavesEnd?: string;
  readonly nextDistributed?: string;
  readonly oldUntil?: readonly string[];
}

/** @throws CertificateDataError */
export function readCertificates(data: SecretData | undefined): KeptCertificates {
  const text = (key: string): string | undefined => {
    const value = data?.[key];
    return value === undefined || value === '' ? undefined : Buffer.from(value, 'base64').toString('utf8');
  };
  const leaf = pairOf(text, 'tls.crt', 'tls.key');
  const ca = text('ca.crt');
  if (text('ca.key') === undefined) {
    if (ca !== undefined && certificatesIn(ca).length === 0)
      throw new CertificateDataError('ca.crt holds no certificate in PEM');
    return { kind: 'foreign', served: { ...leaf, caBundle: ca ?? '' } };
  }
  const authority = withEnd(pairOf(text, 'ca.crt', 'ca.key'));
  if (!isSignedByOneOf(leaf.cert, authority.cert)) {
    throw new CertificateDataError('tls.crt is not signed by the CA in ca.crt');
  }
  return { kind: 'ours', state: stateOf(authority, withEnd(leaf), text) };
}

export function writeCertificates(state: KeptState): SecretData {
  const { ca, leaf, next, old, leavesEndMs } = state;
  const notes: Notes = {
    leavesEnd: new Date(leavesEndMs).toISOString(),
    ...(next?.distributedMs === undefined ? {} : { nextDistributed: new Date(next.distributedMs).toISOString() }),
    oldUntil: old.map(({ untilMs }) => new Date(untilMs).toISOString()),
  };
  const texts: Record<string, string | undefined> = {
    'ca.crt': ca.cert,
    'ca.key': ca.key,
    'tls.crt': leaf.cert,
    'tls.key': leaf.key,
    'next-ca.crt': next?.ca.cert,
    'next-ca.key': next?.ca.key,
    'old-ca.crt': old.length === 0 ? undefined : old.map((each) => each.ca.cert).join(''),
    'state.json': JSON.stringify(notes),
  };
  const present = Object.entries(texts).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries(present.map(([key, value]) => [key, Buffer.from(value).toString('base64')]));
}

/** What is served in this state, and what callers are to trust. */
export function servedIn({ ca, leaf, next, old }: KeptState): ServedCertificate {
  const trusted = [ca, ...(next === undefined ? [] : [next.ca]), ...old.map((each) => each.ca)];
  return { cert: leaf.cert, key: leaf.key, caBundle: trusted.flatMap(({ cert }) => certificatesIn(cert)).join('') };
}

function stateOf(ca: Authority, leaf: Leaf, text: (key: string) => string | undefined): KeptState {
  const notes = notesIn(text('state.json'));
  const old = certificatesIn(text('old-ca.crt') ?? '').map((cert, index) => {
    const endsMs = endOf(cert);
    return { ca: { cert, key: undefined, endsMs }, untilMs: timeOr(notes.oldUntil?.[index], endsMs) };
  });
  const leavesEndMs = Math.max(leaf.endsMs, timeOr(notes.leavesEnd, leaf.endsMs));
  if (text('next-ca.crt') === undefined) return { ca, leaf, leavesEndMs, old };
  const next = withEnd(pairOf(text, 'next-ca.crt', 'next-ca.key'));
  const { nextDistributed } = notes;
  const distributed = nextDistributed === undefined ? {} : { distributedMs: timeOr(nextDistributed, Date.now()) };
  return { ca, leaf, leavesEndMs, old, next: { ca: next, ...distributed } };
}

function pairOf(text: (key: string) => string | undefined, certName: string, keyName: string): CertificatePair {
  const cert = text(certName);
  const key = text(keyName);
  const pair = { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
  const complaint = complaintAboutPair(pair, certName, keyName);
  if (complaint !== undefined || cert === undefined || key === undefined) throw new CertificateDataError(complaint);
  return { cert, key };
}

function withEnd(pair: CertificatePair): CertificatePair & { endsMs: number } {
  return { ...pair, endsMs: endOf(pair.cert) };
}

function notesIn(text: string | undefined): Notes {
  try {
    return Object(JSON.parse(text ?? '{}')) as Notes;
  } catch {
    throw new CertificateDataError('state.json is not JSON');
  }
}

function timeOr(text: string | undefined, otherwiseMs: number): number {
  const ms = Date.parse(String(text));
  return Number.isNaN(ms) ? otherwiseMs : ms;
}
