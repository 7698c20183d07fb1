// The words of the push protocol: what one end writes, the other reads; what nobody wrote is read as nothing.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  formatRejections,
  fromNode,
  loadPushProtocol,
  MAX_REJECTION_TEXT,
  MAX_REQUEST_BYTES,
  parseRejections,
  SHARERS_FEATURE,
  toNode,
  type DeltaDiscoveryRequest,
} from '../../src/contract/push-protocol.ts';
import { sampleResource } from './sample-config.ts';

const { method, encode, decode } = loadPushProtocol();

const overTheWire = (request: DeltaDiscoveryRequest): DeltaDiscoveryRequest =>
  method.requestDeserialize(method.requestSerialize(request));

describe('a resource', () => {
  test('arrives byte for byte', () => {
    const resource = sampleResource('a', 'r');
    const response = { type_url: 't', nonce: '1', resources: [encode(resource)], removed_resources: ['gone'] };
    const arrived = method.responseDeserialize(method.responseSerialize(response));
    expect(arrived.removed_resources).toEqual(['gone']);
    expect(arrived.resources[0]).toMatchObject({ name: resource.name, version: resource.version });
    expect(decode(arrived.resources[0]!).bytes.equals(resource.bytes)).toBe(true);
  });

  test('brings the values of its secrets beside its bytes, and its version does not tell them', () => {
    const secrets = new Map([
      ['redis/password', 'hunter2'],
      ['redis/__proto__', 'x'],
    ]);
    const resource = { ...sampleResource('a', 'r'), secrets };
    const arrived = decode(encode(resource));
    expect(arrived.secrets).toEqual(secrets);
    expect(arrived.bytes.toString()).not.toContain('hunter2');
    expect(resource.version).toBe(sampleResource('a', 'r').version);
    expect(decode(encode(sampleResource('a', 'r'))).secrets.size).toBe(0);
  });

  test('of another type, or of none, is not read', () => {
    const resource = { type_url: 'type.googleapis.com/other', value: Buffer.alloc(0) };
    expect(() => decode({ name: 'n', version: 'v', resource })).toThrow('type.googleapis.com/other');
    expect(() => decode({ name: 'n', version: 'v', resource: null })).toThrow('none');
  });
});

describe('what a limiter says of itself', () => {
  test('arrives', () => {
    const features = [SHARERS_FEATURE];
    for (const more of [{}, { namespaces: ['*'] }, { namespaces: ['a', 'b'] }, { features }]) {
      const self = { nodeId: 'l1', version: '0.1.0', ...more };
      expect(fromNode(overTheWire({ node: toNode(self) }).node)).toEqual(self);
    }
  });

  test('is nothing when it is absent or strange', () => {
    expect(fromNode(null)).toEqual({ nodeId: '', version: '' });
    const metadata = { fields: { namespaces: { stringValue: 'a' }, other: { listValue: { values: [] } } } };
    expect(fromNode(overTheWire({ node: { id: 'x', metadata } }).node)).toEqual({ nodeId: 'x', version: '' });
  });
});

describe('rejections', () => {
  const rejection = fc.record({ name: fc.string(), version: fc.string(), message: fc.string() });

  test('arrive whatever is in them', () => {
    fc.assert(
      fc.property(fc.array(rejection, { minLength: 1 }), (list) => {
        const message = formatRejections(list);
        const arrived = overTheWire({ error_detail: { code: 3, message } }).error_detail?.message ?? '';
        expect(parseRejections(arrived)).toEqual(list);
      }),
    );
  });

  test('have bounded texts, and fit into a request however many there are', () => {
    const one = { name: `ModelRoute/${'n'.repeat(63)}/${'r'.repeat(253)}`, version: 'v', message: 'ü'.repeat(5_000) };
    expect(parseRejections(formatRejections([one]))?.[0]?.message).toHaveLength(MAX_REJECTION_TEXT);
    const many = formatRejections(Array.from({ length: 5_000 }, () => one));
    expect(Buffer.byteLength(many)).toBeLessThan(MAX_REQUEST_BYTES);
  });
});
