// The table of what servers say: docs/failure.md prints it, and each row is found by the words that servers use.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { STORE_WORDS, storeWordOf } from '../../src/contract/store-words.ts';

test('docs/failure.md has one row for each word, with what the limiter does and what to do', () => {
  const text = readFileSync('docs/failure.md', 'utf8');
  const table = text.split('| the server says |')[1]?.split('\n\n', 1)[0] ?? '';
  const rows = table.split('\n').filter((line) => line.startsWith('| `'));
  expect(rows).toEqual(STORE_WORDS.map(({ word, remedy, advice }) => `| \`${word}\` | ${remedy} | ${advice} |`));
});

test.each([
  ["READONLY You can't write against a read only replica.", 'redial'],
  ['READONLY', 'redial'],
  ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", 'redial'],
  ['REDIRECT 10.0.0.7:6379', 'redial'],
  ['NOREPLICAS Not enough good replicas to write.', 'redial'],
  ['NOSCRIPT No matching script.', 'reload'],
  ['LOADING Redis is loading the dataset in memory', 'wait'],
  ["OOM command not allowed when used memory > 'maxmemory'.", 'wait'],
  ['MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk.', 'wait'],
  ['BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.', 'wait'],
  ['CLUSTERDOWN Hash slot not served', 'wait'],
  ['TRYAGAIN Multiple keys request during rehashing of slot', 'retry'],
  ['ERR Error running script: Script killed by user with SCRIPT KILL.', 'retry'],
  ['WRONGPASS invalid username-password pair or user is disabled.', 'login'],
  ['NOAUTH Authentication required.', 'login'],
  ["NOPERM this user has no permissions to run the 'mget' command", 'login'],
  ["NOPERM ACL failure in script: User team has no permissions to run the 'set' command", 'login'],
  ["ERR The user executing the script can't run this command or subcommand", 'login'],
  ['ERR max number of clients reached', 'redial'],
  ['MOVED 3999 127.0.0.1:6381', 'refuse'],
  ["ERR unknown command 'EVALSHA'", 'refuse'],
])('%s: %s', (text, remedy) => {
  expect(storeWordOf(text)?.remedy).toBe(remedy);
});

test('what only looks like a word is none', () => {
  for (const text of ['READONLYISH', 'ERR the server is READONLY now', 'ERR OOM', '', 'ERR wrong number of arguments'])
    expect(storeWordOf(text)).toBeUndefined();
});
