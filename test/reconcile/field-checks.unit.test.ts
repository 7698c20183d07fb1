// Values that neither schema nor CEL can judge: what passes and what does not.
import { describe, expect, test } from '@jest/globals';
import {
  checkAddress,
  checkCidr,
  checkAdapterName,
  checkModelName,
  checkPath,
  checkPathPrefix,
  checkRegex,
  checkTimeZone,
  checkUrl,
} from '../../src/reconcile/field-checks.ts';

const table = [
  {
    name: 'regular expressions',
    check: checkRegex,
    good: ['', 'a|b', '(?i)gold', '[^/]+', '\\p{L}+', '/v1/(chat/)?completions', 'x'.repeat(512)],
    bad: ['(', '[z-a]', '(?=x)', '(?<!x)y', 'a{1001}', '\\1', '(a?){500}'.repeat(50)],
  },
  {
    name: 'CIDRs',
    check: checkCidr,
    good: ['10.0.0.0/8', '0.0.0.0/0', '192.168.7.1', '2001:db8::/32', '::1', '::ffff:10.0.0.0/104', '10.1.2.3/32'],
    bad: [
      '',
      '10.0.0.0/33',
      '10/8',
      '10.0.0/8',
      '010.0.0.1',
      '0x7f.0.0.1',
      '::/129',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '10.0.0.0/+8',
      'fe80::1%eth0',
      'host',
    ],
  },
  {
    name: 'time zones',
    check: checkTimeZone,
    good: ['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5'],
    bad: ['', 'Mars/Olympus', '+02:00', 'GMT+2', 'local'],
  },
  {
    name: 'URLs',
    check: checkUrl,
    good: ['http://a', 'https://a.example:8443/base/', 'http://[::1]:80', 'http://10.0.0.1'],
    bad: [
      '',
      'a',
      'http://a:99999',
      'ftp://a',
      'http://u:p@a',
      'http://a?x=1',
      'http://a#x',
      'http://[::1',
      'file:///etc/passwd',
    ],
  },
  {
    name: 'addresses',
    check: checkAddress,
    good: ['redis:6379', '[::1]:1', 'a:65535'],
    bad: ['redis:0', 'redis:65536', 'redis:', 'redis'],
  },
  {
    name: 'paths',
    check: checkPath,
    good: ['/', '/v1/models/sklearn-iris:predict', '/a%20b', '/%41', '/ä'],
    bad: ['/a%', '/a%2', '/a%zz', '/a%00b', '/a\\b', '/a%5cb', '/a\nb', '/v1/*'],
  },
  {
    name: 'names of models',
    check: checkModelName,
    good: ['llama-3-70b', 'meta-llama/Llama-3.1:latest', 'ä b', '*'],
    bad: ['gpt-*', '*-lora', '**', '* ', ' ', '\t'],
  },
  {
    name: 'names of adapters',
    check: checkAdapterName,
    good: ['sql', 'org/sql-lora'],
    bad: ['*', 'sql-*', ' '],
  },
  {
    name: 'path prefixes',
    check: checkPathPrefix,
    good: ['/', '/a', '/a/', '/a%20b/c.d', '/..a', '/a:b'],
    bad: ['//', '/a//b', '/./a', '/a/..', '/..;/a', '/%41', '/a%2fb', '/a%c3%a4', '/a%'],
  },
];

describe.each(table)('$name', ({ check, good, bad }) => {
  test.each(good)('%j is good', (text) => {
    expect(check(text)).toBeUndefined();
  });

  test.each(bad)('%j is not', (text) => {
    expect(check(text)).toEqual(expect.any(String));
  });
});
