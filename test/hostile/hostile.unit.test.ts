// Every request of the corpus (*.yaml, see README.md) against a limiter in both modes: what it must be refused,
// counted or let through as; and afterwards the limiter still serves.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { LimiterConfig } from '../../src/contract/limiter-config.ts';
import { config, limit, mcpRouting, modelRouting, rule } from '../limiter/fixtures.ts';
import { post, startLimiter, type Running } from '../limiter/running.ts';
import { DAY, tokens } from '../limiter/store/fixtures.ts';
import { loadCorpus, type Expectation, type HostileCase, type HostileFile, type Mode } from './corpus.ts';
import { startRecordingUpstream, type Recorded, type RecordingUpstream } from './recording-upstream.ts';
import { exchange, requestBytes, type WireAnswer } from './wire.ts';

/** Large, and refilled so slowly that no test sees it: what is gone from it was charged. */
const LIMITS = [limit({ rule: tokens(10_000, 366 * DAY) })];
const DEFAULT_OBJECTS = [
  { kind: 'ModelRoute', name: 'chat', routing: { kind: 'model' } },
  { kind: 'MCPServer', name: 'tools', routing: { kind: 'mcp', pathPrefix: '/mcp' } },
];

/** An object of a corpus file, over the defaults of the fixtures. */
function objectOf(given: Record<string, unknown>, url: string): LimiterConfig {
  const change = JSON.parse(JSON.stringify(given).replaceAll('{{upstream}}', url)) as Partial<LimiterConfig>;
  const targets = [{ url, weight: 1 }];
  const { routing: place } = change;
  const routing =
    place?.kind === 'mcp'
      ? { ...mcpRouting({ targets }), ...place }
      : { ...modelRouting({ rules: [rule({ targets })] }), ...place };
  const limits = change.limits?.map((entry) => ({ ...LIMITS[0]!, ...entry })) ?? LIMITS;
  return config({ ...change, routing, limits });
}

/** One limiter and its upstream, for all cases of a file in one mode. */
class World {
  readonly #running: Running;
  readonly #upstream: RecordingUpstream;
  readonly #objects: readonly LimiterConfig[];

  private constructor(running: Running, upstream: RecordingUpstream, objects: readonly LimiterConfig[]) {
    this.#running = running;
    this.#upstream = upstream;
    this.#objects = objects;
  }

  static async start({ objects = DEFAULT_OBJECTS, settings = {} }: HostileFile, mode: Mode): Promise<World> {
    const upstream = await startRecordingUpstream();
    const configs = objects.map((object) => objectOf(object, upstream.url));
    const own = mode === 'sidecar' ? { upstream: upstream.url } : {};
    return new World(await startLimiter(configs, { mode, ...own, ...settings }), upstream, configs);
  }

  async send({ to = 'traffic', request, raw }: HostileCase): Promise<WireAnswer> {
    const { host } = new URL(to === 'decision' ? this.#running.decision : this.#running.traffic);
    const bytes = raw === undefined ? requestBytes(request!, host) : Buffer.from(raw.replaceAll('{{host}}', host));
    return exchange(bytes, host);
  }

  /** What reached the upstream since the last call. */
  taken(): Recorded[] {
    return this.#upstream.taken();
  }

  /** Units left in the first limit of each object, added up. */
  async remaining(): Promise<number> {
    const answers = await Promise.all(
      this.#objects.map(async ({ kind, namespace, name }) => {
        const body = { object: { kind, namespace, name }, request: {}, mode: 'peek' };
        const answer = (await (await post(`${this.#running.decision}/v1/decide`, body)).json()) as {
          limits?: { remaining: number }[];
        };
        if (answer.limits === undefined) throw new Error(`${name} is not in force: ${JSON.stringify(answer)}`);
        return answer.limits[0]?.remaining ?? 0;
      }),
    );
    return answers.reduce((sum, remaining) => sum + remaining, 0);
  }

  /** 200 from the admin port, and an answer on the traffic port: the limiter lives. */
  async isAlive(): Promise<boolean> {
    const [live, traffic] = await Promise.all([
      fetch(`${this.#running.admin}/livez`),
      fetch(`${this.#running.traffic}/hostile-corpus-alive`),
    ]);
    await traffic.arrayBuffer();
    return live.status === 200 && traffic.status > 0;
  }

  async close(): Promise<void> {
    await this.#running.close();
    await this.#upstream.close();
  }
}

function checkStatus({ outcome, status }: Expectation, answer: WireAnswer): void {
  if (status !== undefined) expect(typeof status === 'number' ? [status] : status).toContain(answer.status);
  else if (outcome === 'refused') expect([400, 401, 403, 404, 408, 411, 413, 415, 431, 503]).toContain(answer.status);
  else if (outcome !== 'answered') expect(answer.status).toBe(200);
}

function checkHeaders(wanted: Expectation['headers'], given: Readonly<Record<string, unknown>>): void {
  for (const [name, pattern] of Object.entries(wanted ?? {})) {
    if (pattern === null) expect([name, given[name]]).toEqual([name, undefined]);
    else expect([name, given[name]]).toEqual([name, expect.stringMatching(new RegExp(`^(?:${pattern})$`))]);
  }
}

function checkForwarded({ forwarded, outcome }: Expectation, reached: readonly Recorded[]): void {
  expect(reached.map(({ path }) => path)).toHaveLength(outcome === 'counted' || outcome === 'free' ? 1 : 0);
  const [request] = reached;
  if (forwarded === undefined || request === undefined) return;
  expect(request.path).toBe(forwarded.path ?? request.path);
  expect(request.body.toString()).toBe(forwarded.body ?? request.body.toString());
  checkHeaders(forwarded.headers, request.headers);
}

function check(expectation: Expectation, answer: WireAnswer, reached: readonly Recorded[], charged: number): void {
  const { outcome, count = 1, headers, answer: contained = [], lacks = [] } = expectation;
  checkForwarded(expectation, reached);
  expect(charged).toBe(outcome === 'counted' ? count : 0);
  checkStatus(expectation, answer);
  checkHeaders(headers, answer.headers);
  for (const text of contained) expect(answer.body).toContain(text);
  for (const text of lacks) expect(answer.body).not.toContain(text);
}

for (const file of loadCorpus()) {
  describe.each(['sidecar', 'shared'] as const)(`hostile ${file.name}, %s`, (mode) => {
    const cases = file.cases.filter(({ modes = ['sidecar', 'shared'] }) => modes.includes(mode));
    let world: World;
    beforeAll(async () => {
      world = await World.start(file, mode);
    });
    afterAll(async () => {
      await world.close();
    });

    (cases.length === 0 ? test.skip : test).each(cases.map((entry) => [entry.name, entry] as const))(
      '%s',
      async (_name, entry) => {
        world.taken();
        const before = await world.remaining();
        const answer = await world.send(entry);
        const reached = world.taken();
        check(entry.expect, answer, reached, before - (await world.remaining()));
        expect(await world.isAlive()).toBe(true);
      },
    );
  });
}
