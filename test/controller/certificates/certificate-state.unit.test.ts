// Certificates in the data of a Secret: written, read back, and refused with the key that is wrong.
import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { issueLeaf, makeAuthority } from '../../../src/controller/certificates/certificate-authority.ts';
import {
  readCertificates,
  servedIn,
  writeCertificates,
  type KeptState,
} from '../../../src/controller/certificates/certificate-state.ts';

const HOUR_MS = 3_600_000;
const endsMs = Math.ceil(Date.now() / 1000) * 1000 + HOUR_MS;
const text = (data: Readonly<Record<string, string>>, key: string): string =>
  Buffer.from(data[key] ?? '', 'base64').toString();
const encode = (value: string): string => Buffer.from(value).toString('base64');

let state: KeptState;

beforeAll(async () => {
  const [ca, next, old] = await Promise.all([1, 2, 3].map(async () => ({ ...(await makeAuthority(endsMs)), endsMs })));
  const leaf = { ...(await issueLeaf(ca!, ['weir.test', '10.0.0.1'], endsMs)), endsMs };
  state = {
    ca: ca!,
    leaf,
    leavesEndMs: endsMs + 5_000,
    next: { ca: next!, distributedMs: endsMs - 10_000 },
    old: [{ ca: { cert: old!.cert, key: undefined, endsMs }, untilMs: endsMs - 20_000 }],
  };
});

test('what was written is read back', () => {
  expect(readCertificates(writeCertificates(state))).toEqual({ kind: 'ours', state });
});

test('callers are given the CA that signs first, then the next and the old ones; keys of old CAs are not kept', () => {
  const { caBundle } = servedIn(state);
  expect(caBundle).toBe(state.ca.cert + state.next!.ca.cert + state.old[0]!.ca.cert);
  const kept = writeCertificates({ ...state, old: [{ ca: state.ca, untilMs: endsMs }] });
  expect(Object.keys(kept).filter((key) => text(kept, key).includes('PRIVATE'))).toEqual([
    'ca.key',
    'tls.key',
    'next-ca.key',
  ]);
});

test('two CAs in one bundle have different names, and a leaf says which signed it', () => {
  const [one, two] = [new X509Certificate(state.ca.cert), new X509Certificate(state.next!.ca.cert)];
  expect(one.subject).not.toBe(two.subject);
  expect(new X509Certificate(state.leaf.cert).issuer).toBe(one.subject);
});

test('without ca.key it is somebody else’s: served, with ca.crt as the bundle', () => {
  const { 'ca.crt': ca, 'tls.crt': crt, 'tls.key': key } = writeCertificates(state);
  const foreign = { 'ca.crt': ca!, 'tls.crt': crt!, 'tls.key': key! };
  const { cert, key: leafKey } = state.leaf;
  expect(readCertificates(foreign)).toEqual({
    kind: 'foreign',
    served: { cert, key: leafKey, caBundle: state.ca.cert },
  });
  const withoutCa = { 'tls.crt': crt!, 'tls.key': key! };
  expect(readCertificates(withoutCa)).toEqual({ kind: 'foreign', served: { cert, key: leafKey, caBundle: '' } });
});

describe('the key that is wrong is named', () => {
  const cases: [string, (data: Record<string, string>) => void, RegExp][] = [
    ['no leaf', (data) => delete data['tls.crt'], /^tls\.crt is missing/],
    ['no leaf key', (data) => delete data['tls.key'], /^tls\.key is missing/],
    ['no CA', (data) => delete data['ca.crt'], /^ca\.crt is missing/],
    ['no certificate', (data) => (data['tls.crt'] = encode('hello')), /^tls\.crt is not a certificate/],
    ['no key', (data) => (data['tls.key'] = encode('hello')), /^tls\.key is not a private key/],
    ['another key', (data) => (data['tls.key'] = data['ca.key']!), /^tls\.key is not the key of tls\.crt/],
    ['another CA key', (data) => (data['ca.key'] = data['next-ca.key']!), /^ca\.key is not the key of ca\.crt/],
    [
      'another CA',
      (data) => Object.assign(data, { 'ca.crt': data['next-ca.crt'], 'ca.key': data['next-ca.key'] }),
      /^tls\.crt is not signed by the CA in ca\.crt/,
    ],
    ['notes', (data) => (data['state.json'] = encode('{')), /^state\.json is not JSON/],
    ['half a CA to come', (data) => delete data['next-ca.key'], /^next-ca\.key is missing/],
  ];
  test.each(cases)('%s', (_title, spoil, message) => {
    const data = { ...writeCertificates(state) };
    spoil(data);
    expect(() => readCertificates(data)).toThrow(message);
  });

  test('and no part of a key is in the message', () => {
    const data = { ...writeCertificates(state), 'tls.key': encode(state.ca.key!.slice(0, 120)) };
    const secret = state.ca.key!.split('\n')[1]!;
    let message = '';
    try {
      readCertificates(data);
    } catch (error) {
      message = String(error);
    }
    expect(message).toMatch(/tls\.key/);
    expect(message).not.toContain(secret.slice(0, 12));
  });
});
