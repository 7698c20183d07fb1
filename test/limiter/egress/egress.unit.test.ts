// Egress: which targets a config may name, and which addresses may be dialled for them.
import { describe, expect, test } from '@jest/globals';
import { compileEgress, EVERYWHERE, mayDial, targetProblem } from '../../../src/limiter/egress/egress.ts';

describe('a target before it is resolved', () => {
  const policy = compileEgress(['api.example.com', '*.models.example.com', '198.18.0.0/15', '127.0.0.0/8', '[bad']);

  test.each([
    'http://up.serving.svc:8000',
    'http://up.serving.svc.cluster.local/v1',
    'https://API.example.com',
    'https://api.example.com.:443/base',
    'https://eu.models.example.com',
    'https://a.b.models.example.com',
    'http://198.18.1.1:80',
    'http://127.0.0.1:9999',
    'http://localhost:9999',
    'http://[::ffff:127.0.0.1]:80',
    'http://2130706433/',
  ])('%s may be dialled', (url) => {
    expect(targetProblem(policy, 'serving', url)).toBeUndefined();
  });

  test.each([
    ['http://up.other.svc:8000', 'up.other.svc'],
    ['http://up.serving.svc.evil.example', 'up.serving.svc.evil.example'],
    ['http://serving.svc', 'serving.svc'],
    ['http://x.up.serving.svc', 'x.up.serving.svc'],
    ['https://models.example.com', 'models.example.com'],
    ['https://evilmodels.example.com', 'evilmodels.example.com'],
    ['https://api.example.com.evil.org', 'api.example.com.evil.org'],
    ['http://10.0.0.1', '10.0.0.1'],
    ['http://[::1]:80', '::1'],
    ['http://0x7f.1.evil/', '0x7f.1.evil'],
  ])('%s may not', (url, host) => {
    expect(targetProblem(policy, 'serving', url)).toBe(
      `host "${host}" is not covered by the operator's egress.allow: use a Service of this namespace, or have the host added to the list`,
    );
  });

  test.each([
    'ftp://api.example.com',
    'http://u:p@api.example.com',
    'http://api.example.com?x=1',
    'api.example.com',
    '',
  ])('%j is no target', (url) => {
    expect(targetProblem(policy, 'serving', url)).toBeDefined();
  });

  test.each([
    'https://api.example.com',
    'http://localhost:1',
    'http://10.0.0.1',
    'http://[::1]:80',
    'http://up.other.svc',
  ])('everywhere is %s too', (url) => {
    expect(targetProblem(compileEgress(EVERYWHERE), 'serving', url)).toBeUndefined();
    expect(mayDial(compileEgress(EVERYWHERE), '169.254.169.254')).toBe(true);
  });

  test('a cluster domain of its own', () => {
    const own = compileEgress([], 'k8s.corp.example');
    expect(targetProblem(own, 'serving', 'http://up.serving.svc.k8s.corp.example')).toBeUndefined();
    expect(targetProblem(own, 'serving', 'http://up.serving.svc.cluster.local')).toBeDefined();
  });

  test('without a list only Services of the own namespace', () => {
    expect(targetProblem(compileEgress([]), 'serving', 'http://up.serving.svc')).toBeUndefined();
    expect(targetProblem(compileEgress([]), 'serving', 'http://127.0.0.1')).toBeDefined();
    expect(targetProblem(compileEgress(['*']), 'serving', 'http://127.0.0.1')).toBeDefined();
    expect(targetProblem(compileEgress(['*']), 'serving', 'http://anything.example')).toBeUndefined();
  });
});

describe('an address that a covered host resolved to', () => {
  const none = compileEgress(['*']);

  test.each(['8.8.8.8', '10.0.0.1', '172.16.0.1', '192.168.0.1', '2606:4700::1', 'fd00::1'])(
    '%s may be dialled',
    (address) => {
      expect(mayDial(none, address)).toBe(true);
    },
  );

  test.each([
    '127.0.0.1',
    '127.8.8.8',
    '::1',
    '::ffff:127.0.0.1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '169.254.169.254',
    '::ffff:169.254.169.254',
    'fd00:ec2::254',
    'fe80::1',
    '0.0.0.0',
    '0.1.2.3',
    '::',
    '224.0.0.1',
    '255.255.255.255',
    'ff02::1',
    'not-an-address',
  ])('%s may not', (address) => {
    expect(mayDial(none, address)).toBe(false);
  });

  test('a CIDR of the list covers what is forbidden otherwise, and nothing beside it', () => {
    const loopback = compileEgress(['127.0.0.0/8']);
    expect(mayDial(loopback, '127.0.0.1')).toBe(true);
    expect(mayDial(loopback, '::ffff:127.0.0.1')).toBe(true);
    expect(mayDial(loopback, '::1')).toBe(false);
    expect(mayDial(loopback, '169.254.169.254')).toBe(false);
    expect(mayDial(compileEgress(['169.254.169.254/32']), '169.254.169.254')).toBe(true);
  });
});
