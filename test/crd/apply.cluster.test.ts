// Tests applying on a real API server with the real kubectl: a file applied again changes nothing, two field managers
// with one manifest do not conflict, two managers share an object by limit, and what is stored is what was written.
import { afterEach, beforeAll, expect, test } from '@jest/globals';
import { describeOnCluster } from '../../tools/node-cluster/describe-cluster.ts';
import { installKinds } from './installed-kinds.ts';
import { generatedManifests, writtenManifests } from './manifests.ts';

const CHUNK = 20;
const CLIENT = 'apply-client-side';
const SERVER = 'apply-server-side';

interface Placed {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly resourceVersion?: string };
  readonly spec: unknown;
}

const ALL = [...writtenManifests(), ...generatedManifests()];
const CHUNKS = Array.from({ length: Math.ceil(ALL.length / CHUNK) }, (_, index) => ({
  first: index * CHUNK,
  last: Math.min(ALL.length, (index + 1) * CHUNK) - 1,
}));

/** The manifests of a chunk, each under a name of its own, as one list. */
function listOf({ first, last }: (typeof CHUNKS)[number], namespace: string): { input: string; objects: Placed[] } {
  const objects = ALL.slice(first, last + 1).map(({ kind, spec }, index) => ({
    apiVersion: 'weir.dev/v1alpha1',
    kind,
    metadata: { name: `m-${first + index}`, namespace },
    spec,
  }));
  return { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }), objects };
}

const words = (output: string) =>
  output
    .trim()
    .split('\n')
    .map((line) => line.split(' ').at(-1));

describeOnCluster('applying', (cluster) => {
  const apply = (input: string, ...args: string[]) =>
    cluster().kubectl(['apply', '--validate=strict', ...args, '-f', '-'], { input });
  const serverSide = (manager: string) => ['--server-side', `--field-manager=${manager}`];

  async function live(input: string): Promise<Placed[]> {
    const text = await cluster().mustKubectl(['get', '-o', 'json', '-f', '-'], { input });
    return (JSON.parse(text) as { items: Placed[] }).items;
  }

  beforeAll(async () => {
    await installKinds(cluster());
    for (const name of [CLIENT, SERVER]) await cluster().kubectl(['create', 'namespace', name]);
  });

  test('there are manifests of both kinds, written and generated', () => {
    expect(ALL.length).toBeGreaterThan(200);
    expect(new Set(ALL.map(({ kind }) => kind))).toEqual(new Set(['ModelRoute', 'MCPServer']));
    expect(ALL.filter(({ source }) => source.startsWith('generated')).length).toBeGreaterThan(100);
  });

  test.each(CHUNKS)('manifests $first to $last, client-side: unchanged, and stored as written', async (chunk) => {
    const { input, objects } = listOf(chunk, CLIENT);
    expect(await apply(input)).toMatchObject({ code: 0, stderr: '' });
    const again = await apply(input);
    expect(words(again.stdout)).toEqual(objects.map(() => 'unchanged'));
    expect(await cluster().kubectl(['diff', '-f', '-'], { input })).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await live(input)).map(({ spec }) => spec)).toEqual(objects.map(({ spec }) => spec));
  });

  test.each(CHUNKS)('manifests $first to $last, server-side: nothing written, no conflict', async (chunk) => {
    const { input, objects } = listOf(chunk, SERVER);
    expect(await apply(input, ...serverSide('a'))).toMatchObject({ code: 0, stderr: '' });
    const first = await live(input);
    expect(await apply(input, ...serverSide('a'))).toMatchObject({ code: 0, stderr: '' });
    const second = await live(input);
    expect(second.map(({ metadata }) => metadata.resourceVersion)).toEqual(
      first.map(({ metadata }) => metadata.resourceVersion),
    );
    expect(await apply(input, ...serverSide('b'))).toMatchObject({ code: 0, stderr: '' });
    const diff = ['diff', ...serverSide('b'), '-f', '-'];
    expect(await cluster().kubectl(diff, { input })).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await live(input)).map(({ spec }) => spec)).toEqual(objects.map(({ spec }) => spec));
  });
});

describeOnCluster('two field managers of one object', (cluster) => {
  const OBJECT = 'modelroutes.weir.dev/shared';
  const limit = (name: string, maxTokens: number) => ({
    name,
    per: [{ header: 'x-team' }],
    when: [{ method: ['POST'] }],
    bucket: { maxTokens, refillPeriod: '1m' },
  });
  const manifest = (spec: object) =>
    JSON.stringify({
      apiVersion: 'weir.dev/v1alpha1',
      kind: 'ModelRoute',
      metadata: { name: 'shared', namespace: 'default' },
      spec,
    });
  const apply = (manager: string, spec: object) =>
    cluster().kubectl(['apply', '--server-side', `--field-manager=${manager}`, '-f', '-'], { input: manifest(spec) });
  const limits = async () => {
    const text = await cluster().mustKubectl(['get', OBJECT, '-o', 'jsonpath={.spec.rateLimiting.limits}']);
    return JSON.parse(text) as unknown;
  };

  beforeAll(async () => {
    await installKinds(cluster());
  });

  afterEach(async () => {
    await cluster().kubectl(['delete', OBJECT, '--ignore-not-found']);
  });

  test('own different limits of it', async () => {
    const platform = { modelName: 'm', rateLimiting: { scope: 'Local', limits: [limit('floor', 10)] } };
    expect((await apply('platform', platform)).code).toBe(0);
    const team = (maxTokens: number) => ({ rateLimiting: { limits: [limit('team', maxTokens)] } });
    expect((await apply('team', team(5))).code).toBe(0);
    expect(await limits()).toEqual([limit('floor', 10), limit('team', 5)]);
    expect((await apply('team', team(6))).code).toBe(0);
    expect(await limits()).toEqual([limit('floor', 10), limit('team', 6)]);
    expect((await apply('team', { rateLimiting: {} })).code).toBe(0);
    expect(await limits()).toEqual([limit('floor', 10)]);
  });

  test('conflict where they really differ, and nowhere else', async () => {
    const spec = (maxTokens: number) => ({ modelName: 'm', rateLimiting: { limits: [limit('one', maxTokens)] } });
    expect((await apply('a', spec(10))).code).toBe(0);
    expect(await apply('b', spec(10))).toMatchObject({ code: 0, stderr: '' });
    const { code, stderr } = await apply('b', spec(11));
    expect(code).toBe(1);
    const place = '.spec.rateLimiting.limits[name="one"].bucket.maxTokens';
    expect(stderr).toContain(`Apply failed with 1 conflict: conflict with "a": ${place}\n`);
  });
});
