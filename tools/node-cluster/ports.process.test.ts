// Tests the choice of ports: of all who ask before a server listens, in this process and in another, only one gets a
// port.
import { expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from './ports.ts';

const module = join(import.meta.dirname, 'ports.ts');

test('a port that was given away is not given again, though nobody listens on it yet', async () => {
  const [first = 0, second = 0] = await freePorts(2);
  const others = Array.from({ length: 20 }, (_none, index) => second + 1 + index);
  const asked = await Promise.all([1, 2].map(() => freePorts(1, [first, second, ...others])));
  expect(asked.flat()).not.toContain(first);
  expect(asked.flat()).not.toContain(second);
});

test('another process does not get it either, and gets it when the first one has ended', async () => {
  const ask = (ports: readonly number[]): Promise<string> =>
    promisify(execFile)(process.execPath, [
      ...['--disable-warning=ExperimentalWarning', '--input-type=module', '-e'],
      `import { freePorts } from ${JSON.stringify(module)};
       console.log(await freePorts(1, ${JSON.stringify(ports)}).catch(({ message }) => message));`,
    ]).then(({ stdout }) => stdout.trim());
  const [mine = 0] = await freePorts(1);
  expect(await ask([mine])).toMatch(/^no free port/);
  const theirs = Number(/\d+/.exec(await ask([mine, mine + 1, mine + 2, mine + 3]))?.[0]);
  expect(await freePorts(1, [theirs])).toEqual([theirs]);
});

test('a port that somebody listens on is passed over', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await expect(freePorts(1, [port])).rejects.toThrow('no free port');
  server.close();
});
