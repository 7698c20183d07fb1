// What the limiter reads must be what any upstream reads: bodies on which parsers disagree are told apart.
import { describe, expect, test } from '@jest/globals';
import { readJsonBody } from '../../../src/limiter/request/json-body.ts';

const kindOf = (body: string | Buffer): string => readJsonBody(Buffer.from(body)).kind;

describe('a body is read as JSON', () => {
  test.each([
    ['', 'empty'],
    ['{"model":"m"}', 'json'],
    [' \r\n\t{"model":"m"}', 'json'],
    ['[]', 'json'],
    ['a=1&model=m', 'other'],
    ['--boundary\r\n', 'other'],
    ['"text"', 'other'],
    ['   ', 'other'],
    ['{"model":"m"', 'ambiguous'],
    ['{"model":"m"}{"model":"n"}', 'ambiguous'],
    ['{"model":"m","temperature":NaN}', 'ambiguous'],
    ["{'model':'m'}", 'ambiguous'],
    ['\ufeff{"model":"m"}', 'ambiguous'],
  ])('%j is %s', (body, kind) => {
    expect(kindOf(body)).toBe(kind);
  });

  test.each(['utf16le', 'utf-16be', 'utf-32le', 'utf-32be'] as const)(
    '%s is ambiguous: Python reads it',
    (encoding) => {
      const text = '{"model":"m"}';
      const width = encoding.includes('32') ? 4 : 2;
      const bytes = Buffer.alloc(text.length * width);
      const low = encoding.endsWith('be') ? width - 1 : 0;
      for (let index = 0; index < text.length; index += 1) bytes[index * width + low] = text.charCodeAt(index);
      expect(kindOf(bytes)).toBe('ambiguous');
      const mark = {
        utf16le: [0xff, 0xfe],
        'utf-16be': [0xfe, 0xff],
        'utf-32le': [0xff, 0xfe, 0, 0],
        'utf-32be': [0, 0, 0xfe, 0xff],
      };
      expect(kindOf(Buffer.concat([Buffer.from(mark[encoding]), bytes]))).toBe('ambiguous');
    },
  );

  test('binary that holds a brace by chance is no JSON', () => {
    expect(kindOf(Buffer.from([0, 0, 0, 0, 0x7b, 1, 2, 3]))).toBe('other');
    expect(kindOf(Buffer.from([0x1f, 0x8b, 0x7b]))).toBe('other');
  });

  test('invalid UTF-8 is ambiguous', () => {
    expect(kindOf(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toBe('ambiguous');
  });

  test('nesting has a bound', () => {
    expect(kindOf('['.repeat(200) + ']'.repeat(200))).toBe('json');
    expect(kindOf('['.repeat(201) + ']'.repeat(201))).toBe('ambiguous');
    expect(kindOf('['.repeat(5_000_000))).toBe('ambiguous');
  });
});

describe('a member that parsers read differently', () => {
  test.each([
    '{"model":"cheap","model":"dear"}',
    '{"model":"cheap","mod\\u0065l":"dear"}',
    '{"model":"cheap","Model":"dear"}',
    '{"MODEL":"dear"}',
    '{"method":"ping","method":"tools/call"}',
    '{"method":"tools/call","params":{"name":"a","name":"b"}}',
    '{"method":"tools/call","params":{"Name":"b"}}',
    '[{"method":"ping","method":"tools/call"}]',
    '[{"method":"tools/call","params":{"name":"a","name":"b"}}]',
    '{"other":[{"x":1}],"x":2,"x":3}',
  ])('makes %s ambiguous', (body) => {
    expect(kindOf(body)).toBe('ambiguous');
  });

  test.each([
    '{"model":"m","messages":[{"Name":"a","name":"b"}],"metadata":{"Model":"x"}}',
    '{"method":"tools/call","params":{"name":"t","arguments":{"Name":"Ann","ID":1,"Model":"x"}}}',
    '{"a":"quote \\" and \\\\","b":"{\\"model\\":1}","model":"m"}',
    '{"model":"m","tools":[{"function":{"parameters":{"properties":{"id":{},"Id":{}}}}}]}',
  ])('does not make %s ambiguous', (body) => {
    expect(kindOf(body)).toBe('json');
  });
});
