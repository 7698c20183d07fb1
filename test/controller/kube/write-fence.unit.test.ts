// The fence before writes: asked when the bytes go out, not when the write begins.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Kube } from '../../../src/controller/kube/kube-api.ts';
import { connectKube } from '../../../src/controller/kube/kube.ts';
import { WriteFence, WriteRefused } from '../../../src/controller/kube/write-fence.ts';
import { kindOf } from '../../../src/crd/kinds/kinds.ts';

describe('the fence before writes', () => {
  let folder = '';
  let server: Server;
  let kube: Kube;
  let seen: string[] = [];

  beforeEach(async () => {
    seen = [];
    folder = await mkdtemp(join(tmpdir(), 'weir-fence-'));
    server = createServer((request, response) => {
      seen.push(`${request.method ?? ''} ${request.url ?? ''}`);
      response.setHeader('content-type', 'application/json').end('{"metadata":{"name":"x"}}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'x',
      clusters: [{ name: 'x', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'x', user: { token: 'x' } }],
      contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    };
    await writeFile(join(folder, 'config'), JSON.stringify(config));
    kube = connectKube({ kubeconfig: join(folder, 'config') });
  });

  afterEach(async () => {
    await kube.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  const write = (through: Kube): Promise<unknown> =>
    through.replaceStatus(kindOf('ModelRoute'), { metadata: { name: 'x', namespace: 'y' } });

  test('a leader writes, and tells the API server how long that may take', async () => {
    await write(kube.fenced(new WriteFence(() => true, 2000)));
    expect(seen).toEqual([expect.stringMatching(/^PUT .*\/modelroutes\/x\/status\?.*timeout=2000ms/)]);
  });

  test('a write whose lease ended while it waited for a connection is not sent', async () => {
    let isLeader = true;
    const fence = new WriteFence(() => isLeader, 2000);
    const writing = write(kube.fenced(fence));
    isLeader = false;
    await expect(writing).rejects.toThrow(WriteRefused);
    expect(seen).toEqual([]);
    expect(await fence.whenQuiet(0)).toBe(true);
  });

  test('reads need no lease, and other doors are not fenced', async () => {
    const fenced = kube.fenced(new WriteFence(() => false, 2000));
    await fenced.get(kindOf('ModelRoute'), 'y', 'x');
    await expect(write(fenced)).rejects.toThrow(WriteRefused);
    await write(kube);
    expect(seen.map((line) => line.split(' ')[0])).toEqual(['GET', 'PUT']);
  });
});
