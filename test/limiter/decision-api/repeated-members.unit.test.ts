// A member that is named twice, at any depth and in any spelling, and texts that only look like it.
import { describe, expect, test } from '@jest/globals';
import { hasRepeatedMember } from '../../../src/limiter/decision-api/repeated-members.ts';

describe('a repeated member', () => {
  test.each([
    ['{"a":1,"a":2}', true],
    ['{"request":{"model":"m","model":"x"}}', true],
    ['{"request":{"model":"m","mod\\u0065l":"x"}}', true],
    ['[{"a":1},{"a":1,"a":1}]', true],
    ['{"__proto__":1,"__proto__":2}', true],
    ['{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}', false],
    ['{"a":"x:y","b":"\\":\\\\","":{}}', false],
    ['{"__proto__":{"a":1},"constructor":null}', false],
    ['"a:b"', false],
    ['[]', false],
    ['null', false],
  ])('%s: %p', (text, isRepeated) => {
    expect(hasRepeatedMember(text, JSON.parse(text))).toBe(isRepeated);
  });

  test('costs no stack, however deep', () => {
    const text = `${'['.repeat(5000)}{"a":1}${']'.repeat(5000)}`;
    expect(hasRepeatedMember(text, JSON.parse(text))).toBe(false);
  });
});
