// Tests of the running limiter: starts one on free ports with configs of the test's own, beside an upstream that
// counts.
import { setTimeout as delay } from 'node:timers/promises';
import { startStandInModel, type StandInModel } from '../../src/cli/stand-in/stand-in-model.ts';
import {
  FLEET_RESOURCE_NAME,
  resourceName,
  type LimiterConfig,
  type ModelRouting,
} from '../../src/contract/limiter-config.ts';
import { toVersioned } from '../../src/contract/snapshot.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { StaticConfigSource, type VersionedConfig } from '../../src/limiter/config/config-source.ts';
import { runLimiter, type LimiterParts, type RunningLimiter } from '../../src/limiter/main.ts';
import { LIMITER_DEFAULTS, type LimiterSettings } from '../../src/limiter/settings.ts';
import { config, mcpRouting, modelRouting, rule } from './fixtures.ts';

const ANY_PORT = { host: '127.0.0.1', port: 0 };

/** A limiter under test. */
export interface Running {
  readonly limiter: RunningLimiter;
  readonly source: StaticConfigSource;
  /** Base URLs. */
  readonly traffic: string;
  readonly admin: string;
  readonly decision: string;
  close(): Promise<void>;
}

export function versioned(...configs: readonly LimiterConfig[]): VersionedConfig[] {
  return configs.map((resource) => {
    const { name, version } = toVersioned(resourceName(resource), resource);
    return { name, version, resource };
  });
}

/** What lets a limiter dial upstreams on loopback. */
export const LOOPBACK_FLEET: VersionedConfig = {
  name: FLEET_RESOURCE_NAME,
  version: '1',
  resource: { kind: 'Fleet', knownLimiters: 1, egressAllow: ['127.0.0.0/8'] },
};

/** Starts a limiter; `configs` are in force when it resolves. */
export async function startLimiter(
  configs: readonly LimiterConfig[],
  settings: Partial<LimiterSettings> = {},
  parts: LimiterParts = {},
): Promise<Running> {
  const source = new StaticConfigSource([LOOPBACK_FLEET, ...versioned(...configs)]);
  const limiter = await runLimiter(
    {
      ...LIMITER_DEFAULTS,
      id: 'under-test',
      source,
      listen: ANY_PORT,
      adminListen: ANY_PORT,
      decisionListen: ANY_PORT,
      ...settings,
    },
    { logger: silentLogger(), ...parts },
  );
  const { traffic, admin, decision } = limiter.addresses;
  const baseOf = ({ host, port }: { host: string; port: number }): string => `http://${host}:${port}`;
  return {
    limiter,
    source,
    traffic: baseOf(traffic),
    admin: baseOf(admin),
    decision: decision === undefined ? '' : baseOf(decision),
    close: () => limiter.close(),
  };
}

export function startUpstream(): Promise<StandInModel> {
  return startStandInModel(ANY_PORT);
}

/** A ModelRoute in front of `url`. */
export function routeTo(
  url: string,
  change: Partial<LimiterConfig> = {},
  routing: Partial<ModelRouting> = {},
): LimiterConfig {
  const rules = [rule({ targets: [{ url, weight: 1 }] })];
  return config({ routing: modelRouting({ rules, ...routing }), ...change });
}

/** An MCPServer in front of `url`. */
export function mcpTo(url: string, change: Partial<LimiterConfig> = {}): LimiterConfig {
  return config({ routing: mcpRouting({ targets: [{ url, weight: 1 }] }), name: 'tools', ...change });
}

/** POSTs JSON. */
export function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** Waits for a condition, up to five seconds unless more is given. */
export async function until(holds: () => boolean | Promise<boolean>, withinMs = 5_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error('the condition did not come true in time');
    await delay(5);
  }
}
