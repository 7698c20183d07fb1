// What of a server's answer goes into logs and statuses: its words, on one line, bounded, and nothing that was sent
// in secret.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { storeWordOf } from '../../../src/contract/store-words.ts';
import { serverAnswerOf } from '../../../src/limiter/store/server-answer.ts';

const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' });
const textOf = (message: string, ...secrets: string[]): string => serverAnswerOf(reply(message), secrets)?.text ?? '';

describe('the answer of a server', () => {
  test.each([
    [
      "READONLY You can't write against a read only replica. script: 5f0dc3ab3e1a6ab2c3d8b4c1e0f9a8b7c6d5e4f3, on @user_script:481.",
      "READONLY You can't write against a read only replica.",
      'redial',
    ],
    [
      'ERR Error running script (call to f_5f0d): @user_script:12: @user_script: 12: -OOM command not allowed',
      'OOM command not allowed',
      'wait',
    ],
    ["ERR unknown command 'AUTH', with args beginning with: 'team' 'pass' ", "ERR unknown command 'AUTH'", 'refuse'],
    ['NOPERM User team has no permissions', 'NOPERM User team has no permissions', 'login'],
    ['ERR something new\r\nand more\u0007', 'ERR something new and more', undefined],
  ])('%s', (message, text, remedy) => {
    const answer = serverAnswerOf(reply(message), ['a-secret']);
    expect(answer?.text).toBe(text);
    expect(answer?.remedy).toBe(remedy);
    // The status takes its advice from the text alone.
    expect(storeWordOf(text)?.remedy).toBe(remedy);
  });

  test('repeats no secret: of an answer that does, the first word stays', () => {
    expect(textOf('WRONGPASS hunter2-hunter2 is not it', 'hunter2-hunter2')).toBe('WRONGPASS');
    expect(textOf('what is hunter2-hunter2', 'hunter2-hunter2')).toBe('ERR');
  });

  test('of anything else there is none', () => {
    for (const error of [new Error('Connection is closed.'), 'READONLY', undefined, null, { name: 'x' }])
      expect(serverAnswerOf(error, [])).toBeUndefined();
  });

  test('is one line of at most 160 printable characters, whatever the server says', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 500 }), fc.string({ minLength: 4 }), (message, secret) => {
        const text = textOf(message, secret);
        expect(text).toMatch(/^[\x20-\x7e]{0,160}$/);
        if (message.includes(secret)) expect(text).toMatch(/^[A-Z]{0,20}$/);
      }),
    );
  });
});
