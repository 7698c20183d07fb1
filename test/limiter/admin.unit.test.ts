// The admin listener and what it shows: readiness, metrics that neither leak nor vanish, and no secrets.
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { StandInModel } from '../../src/cli/stand-in/stand-in-model.ts';
import { StaticConfigSource, type ApplyConfigs } from '../../src/limiter/config/config-source.ts';
import { hideSecrets } from '../../src/limiter/admin.ts';
import { freePorts } from '../../tools/node-cluster/ports.ts';
import { HOUR, tokens } from './store/fixtures.ts';
import { limit } from './fixtures.ts';
import {
  LOOPBACK_FLEET,
  post,
  routeTo,
  startLimiter,
  startUpstream,
  until,
  versioned,
  type Running,
} from './running.ts';

let running: Running | undefined;
let upstream: StandInModel | undefined;
afterEach(async () => {
  await running?.close();
  await upstream?.close();
  upstream = undefined;
});

/** A source that has nothing to say. */
class SilentSource extends StaticConfigSource {
  override start(): Promise<void> {
    return Promise.resolve();
  }
}

const metrics = async (): Promise<string[]> => {
  const text = await (await fetch(`${running!.admin}/metrics`)).text();
  return text.split('\n').filter((line) => !line.startsWith('#'));
};
const ready = async (): Promise<readonly [number, string]> => {
  const answer = await fetch(`${running!.admin}/readyz`);
  return [answer.status, (await answer.text()).trim()];
};

describe('readiness', () => {
  test('comes with the first snapshot, an empty one too, and goes with a drain', async () => {
    running = await startLimiter([]);
    expect(await ready()).toEqual([200, 'ok']);
    expect((await fetch(`${running.admin}/livez`)).status).toBe(200);
    expect((await fetch(`${running.admin}/drain`, { method: 'PUT' })).status).toBe(405);
    expect((await fetch(`${running.admin}/drain?delay=soon`)).status).toBe(400);
    expect(await ready()).toEqual([200, 'ok']);
    expect((await fetch(`${running.admin}/drain?delay=1ms&max=2ms`)).status).toBe(200);
    expect(await ready()).toEqual([503, 'draining']);
    expect((await fetch(`${running.admin}/livez`)).status).toBe(200);
    expect((await fetch(`${running.admin}/nothing`)).status).toBe(404);
  });

  test('does not come before the port of its traffic is open, whatever it has of configs', async () => {
    const [port = 0] = await freePorts(1);
    const seen: string[] = [];
    class AskingSource extends StaticConfigSource {
      override async start(apply: ApplyConfigs): Promise<void> {
        await super.start(apply);
        for (const path of ['livez', 'readyz']) {
          const answer = await fetch(`http://127.0.0.1:${port}/${path}`);
          seen.push(`${answer.status} ${(await answer.text()).trim()}`);
        }
      }
    }
    const adminListen = { host: '127.0.0.1', port };
    running = await startLimiter([], { adminListen, source: new AskingSource([LOOPBACK_FLEET]) });
    expect(seen).toEqual(['200 ok', '503 not listening yet']);
    expect(await ready()).toEqual([200, 'ok']);
  });

  test('without any config: requests wait, then the policy says what becomes of them', async () => {
    upstream = await startUpstream();
    const settings = {
      source: new SilentSource(),
      mode: 'sidecar',
      upstream: upstream.url,
      unconfiguredWaitMs: 100,
    } as const;
    running = await startLimiter([], settings);
    expect(await ready()).toEqual([503, 'waiting for the first configuration']);
    expect((await fetch(`${running.traffic}/health`)).status).toBe(200);
    expect(await ready()).toEqual([200, 'unconfigured: passing all requests']);
    expect(await metrics()).toContain('weir_connections_total{handling="spliced_unconfigured"} 1');
    await running.close();
    running = await startLimiter([], { ...settings, unconfiguredPolicy: 'Refuse' });
    const refused = await fetch(`${running.traffic}/health`);
    expect([refused.status, await refused.text()]).toEqual([503, expect.stringContaining('no configuration')]);
    expect((await ready())[0]).toBe(503);
  });
});

describe('metrics', () => {
  const CHAT = { model: 'm' };
  const edited = (name: string, ...limits: string[]): ReturnType<typeof versioned> =>
    versioned(
      routeTo(
        upstream!.url,
        { name, limits: limits.map((each) => limit({ name: each, rule: tokens(1, HOUR) })) },
        { pathPrefix: `/${name}` },
      ),
    );
  const seriesOf = async (object: string): Promise<string[]> =>
    (await metrics()).filter((line) => line.includes(`object="ModelRoute/serving/${object}"`));

  test('trap 46: series vanish with their object or limit, and stay through an edit', async () => {
    upstream = await startUpstream();
    running = await startLimiter([]);
    running.source.push({ updates: [...edited('a', 'x'), ...edited('b', 'x')], removals: [] });
    for (const name of ['a', 'a', 'b', 'b']) await post(`${running.traffic}/${name}/v1/completions`, CHAT);
    const denied = 'weir_decisions_total{object="ModelRoute/serving/a",limit="x",outcome="denied",degraded=""} 1';
    expect(await seriesOf('a')).toContain(denied);
    running.source.push({ updates: edited('a', 'x', 'y'), removals: [] });
    expect(await seriesOf('a')).toContain(denied);
    running.source.push({ updates: edited('a', 'y'), removals: ['ModelRoute/serving/b'] });
    expect(await seriesOf('a')).not.toContain(denied);
    expect(await seriesOf('b')).toEqual([]);
    expect(await metrics()).toContain('weir_objects 1');
  });

  test('trap 46: a request that ends after its object was deleted does not bring series back', async () => {
    upstream = await startUpstream();
    running = await startLimiter([]);
    running.source.push({ updates: edited('a', 'x'), removals: [] });
    const pending = post(`${running.traffic}/a/v1/completions`, CHAT);
    await until(() => upstream!.count() === 1);
    running.source.push({ updates: [], removals: ['ModelRoute/serving/a'] });
    await pending;
    expect(await seriesOf('a')).toEqual([]);
  });

  test('trap 39: labels do not grow with what callers send', async () => {
    upstream = await startUpstream();
    const byHeader = limit({
      name: 'x',
      rule: tokens(1, HOUR),
      per: [{ type: 'header', name: 'x-key', whenAbsent: 'Share' }],
    });
    running = await startLimiter([routeTo(upstream.url, { limits: [byHeader] })]);
    const send = async (from: number): Promise<number> => {
      for (let each = from; each < from + 20; each += 1) {
        await post(`${running!.traffic}/v1/completions?q=${each}`, CHAT, {
          'x-key': `${each}`,
          'user-agent': `${each}`,
        });
        await post(`${running!.traffic}/path-${each}`, { model: `m-${each}` });
      }
      return (await metrics()).length;
    };
    expect(await send(0)).toBe(await send(100));
  });
});

describe('the config dump', () => {
  test('shows what is in force without secrets', async () => {
    const password = { secret: { name: 'redis', key: 'password', uid: 'u1', resourceVersion: '7' } };
    const redis = { address: '127.0.0.1:1', username: 'u', password };
    const configs = versioned(routeTo('http://127.0.0.1:9', { store: { type: 'redis', redis } }));
    const secrets = new Map([['redis/password', 'hunter2']]);
    const source = new StaticConfigSource([LOOPBACK_FLEET, ...configs.map((each) => ({ ...each, secrets }))]);
    running = await startLimiter([], { source });
    const text = await (await fetch(`${running.admin}/config_dump`)).text();
    expect(text).not.toContain('hunter2');
    expect(await (await fetch(`${running.admin}/metrics`)).text()).not.toContain('hunter2');
    const dump = JSON.parse(text) as { configs: { store: unknown }[]; versions: object };
    const shown = { redis: { address: '127.0.0.1:1', password: { secret: { name: 'redis', uid: 'u1' } } } };
    expect(dump.configs[0]?.store).toMatchObject(shown);
    expect(Object.keys(dump.versions)).toEqual([LOOPBACK_FLEET.name, 'ModelRoute/serving/chat']);
  });

  test('hides members that speak of secrets, and the user info of URLs', () => {
    expect(hideSecrets({ a: [{ apiToken: 'x', secretKey: 'y' }], url: 'redis://u:p@h:1' })).toEqual({
      a: [{ apiToken: '***', secretKey: '***' }],
      url: 'redis://***@h:1',
    });
  });
});

/** An address of this machine that is not loopback; a machine without a network has none. */
const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

(outside === undefined ? describe.skip : describe)('the network', () => {
  const atOutside = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://${outside}:${new URL(running!.admin).port}${path}`, init);

  test('sees probes and metrics, and nothing of what is in force', async () => {
    running = await startLimiter([], { adminListen: { host: '0.0.0.0', port: 0 } });
    for (const path of ['/livez', '/readyz', '/metrics']) expect((await atOutside(path)).status).toBe(200);
    const refused = await atOutside('/config_dump');
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining('kubectl port-forward')]);
    expect((await fetch(`http://127.0.0.1:${new URL(running.admin).port}/config_dump`)).status).toBe(200);
  });

  test('drains with the token, and without one not at all', async () => {
    running = await startLimiter([], { adminListen: { host: '0.0.0.0', port: 0 } });
    expect((await atOutside('/drain', { method: 'POST' })).status).toBe(403);
    await running.close();
    running = await startLimiter([], { adminListen: { host: '0.0.0.0', port: 0 }, drainToken: 'secret' });
    const headers = { 'x-weir-drain-token': 'secret' };
    expect((await atOutside('/drain', { headers: { 'x-weir-drain-token': 'other' } })).status).toBe(403);
    expect((await atOutside('/drain')).status).toBe(403);
    expect((await atOutside('/drain', { headers })).status).toBe(200);
  });
});
