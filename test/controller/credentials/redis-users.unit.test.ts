// The rights of a namespace's user in the default Redis are those that the scripts of the store need, and no more.
import { expect, test } from '@jest/globals';
import { globSync, readFileSync } from 'node:fs';
import { userRules } from '../../../src/controller/credentials/redis-users.ts';

test('every command that a script calls is allowed, and none that no script calls', () => {
  const scripts = globSync('src/limiter/store/lua/**/*.lua').map((path) => readFileSync(path, 'utf8'));
  const called = scripts.flatMap((text) =>
    [...text.matchAll(/call\('([A-Z]+)'/g)].map((match) => match[1]!.toLowerCase()),
  );
  const around = ['eval', 'evalsha', 'script|load', 'info'];
  const allowed = userRules('a', 'password').filter((rule) => rule.startsWith('+'));
  expect(new Set(allowed)).toEqual(new Set([...called, ...around].map((command) => `+${command}`)));
});

test('the rules hold the hash of the password, not the password, and the keys of one namespace', () => {
  const rules = userRules('tools', 'hunter2');
  expect(rules.join(' ')).not.toContain('hunter2');
  expect(rules.filter((rule) => /^[~%(]|allkeys/.test(rule))).toEqual(['~weir:{tools}:*']);
  expect(rules.slice(0, 2)).toEqual(['reset', 'on']);
});
