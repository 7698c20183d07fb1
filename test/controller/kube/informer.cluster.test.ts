// The informer on a real API server: restarts, expired versions, dead connections and failing handlers lose nothing.
import { afterEach, expect, test } from '@jest/globals';
import { silentLogger } from '../../../src/lib/log.ts';
import { Informer, type InformerSettings } from '../../../src/controller/kube/informer.ts';
import { KubeError, type Kube, type WatchOptions } from '../../../src/controller/kube/kube-api.ts';
import { connectKube } from '../../../src/controller/kube/kube.ts';
import type { KubeObject, ResourceType } from '../../../src/controller/kube/kube-types.ts';
import type { Change } from '../../../src/controller/kube/object-feed.ts';
import { describeOnControlPlane, type OwnTestCluster } from '../../../tools/node-cluster/describe-cluster.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

const CONFIG_MAPS: ResourceType = { group: '', version: 'v1', plural: 'configmaps' };
const SOON = { deadlineMs: 30_000 };

let cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  cleanups = [];
});

function kubeOf(cluster: OwnTestCluster): Kube {
  const kube = connectKube({ kubeconfig: cluster.kubeconfig });
  cleanups.push(() => kube.close());
  return kube;
}

function inform(
  kube: Pick<Kube, 'list' | 'watch'>,
  label: string,
  more: Partial<InformerSettings<ConfigMap>> = {},
): { informer: Informer<ConfigMap>; changes: Change<ConfigMap>[] } {
  const informer = new Informer<ConfigMap>({
    kube,
    type: CONFIG_MAPS,
    namespaces: ['default'],
    labelSelector: `suite=${label}`,
    trim: (object) => object,
    log: silentLogger(),
    ...more,
    timing: { baseBackoffMs: 20, maxBackoffMs: 500, ...more.timing },
  });
  const changes: Change<ConfigMap>[] = [];
  informer.onChange((change) => changes.push(change));
  cleanups.push(() => informer.stop());
  return { informer, changes };
}

function configMap(suite: string, name: string, value = '1'): ConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default', labels: { suite } },
    data: { value },
  };
}

/** Lets the real watches through, but cuts the running one and holds the next back on request. */
function interruptible(kube: Kube): Pick<Kube, 'list' | 'watch'> & { interrupt: () => () => void } {
  let gate = Promise.resolve();
  let cut = new AbortController();
  return {
    list: (type, options) => kube.list(type, options),
    async *watch<T extends KubeObject>(type: ResourceType, options: WatchOptions) {
      await gate;
      cut = new AbortController();
      yield* kube.watch<T>(type, { ...options, signal: AbortSignal.any([cut.signal, options.signal]) });
    },
    interrupt: () => {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      gate = promise.then(() => undefined);
      cut.abort();
      return () => {
        resolve(undefined);
      };
    },
  };
}

const valueOf = (informer: Informer<ConfigMap>, name: string): string | undefined =>
  informer.get(`default/${name}`)?.data?.['value'];

describeOnControlPlane('informer', { flags: { 'watch-cache': 'false' } }, (cluster) => {
  test('lists in pages, then follows; a list that changed nothing tells nothing', async () => {
    const kube = kubeOf(cluster());
    for (const name of ['p1', 'p2', 'p3', 'p4', 'p5'])
      await kube.apply(CONFIG_MAPS, 'default', configMap('paged', name));
    const { informer, changes } = inform(kube, 'paged', { timing: { pageSize: 2 } });
    expect(informer.hasSynced).toBe(false);
    informer.start();
    await informer.whenSynced();
    expect([...informer.values()].map(({ metadata }) => metadata.name).sort()).toEqual(['p1', 'p2', 'p3', 'p4', 'p5']);
    expect(changes).toHaveLength(5);

    await kube.apply(CONFIG_MAPS, 'default', configMap('paged', 'p1', '2'));
    await kube.remove(CONFIG_MAPS, 'default', 'p2');
    await waitFor('the deletion', () => (informer.get('default/p2') === undefined ? true : undefined), SOON);
    expect(valueOf(informer, 'p1')).toBe('2');
    expect(changes.slice(5).map(({ before, after }) => [before?.data?.['value'], after?.data?.['value']])).toEqual([
      ['1', '2'],
      ['1', undefined],
    ]);
  });

  test('has not synced while the first list fails, and syncs when the API server is there', async () => {
    const kube = kubeOf(cluster());
    await kube.apply(CONFIG_MAPS, 'default', configMap('late', 'late'));
    await cluster().plane.apiServer.kill();
    const { informer } = inform(kube, 'late');
    informer.start();
    await waitFor('three failures', () => (informer.stats.failures >= 3 ? true : undefined), SOON);
    expect(informer.hasSynced).toBe(false);
    await cluster().plane.apiServer.start();
    await informer.whenSynced();
    expect(valueOf(informer, 'late')).toBe('1');
  });

  test('goes on after the API server was restarted, without a second list', async () => {
    const kube = kubeOf(cluster());
    await kube.apply(CONFIG_MAPS, 'default', configMap('restart', 'kept'));
    const { informer, changes } = inform(kube, 'restart');
    informer.start();
    await informer.whenSynced();
    await cluster().plane.apiServer.restart();
    await kube.apply(CONFIG_MAPS, 'default', configMap('restart', 'kept', '2'));
    await waitFor('the change', () => (valueOf(informer, 'kept') === '2' ? true : undefined), SOON);
    expect(informer.stats.lists).toBe(1);
    expect(changes).toHaveLength(2);
  });

  test('lists again when its version was compacted away (410), and finds what was deleted meanwhile', async () => {
    const kube = kubeOf(cluster());
    for (const name of ['stays', 'goes']) await kube.apply(CONFIG_MAPS, 'default', configMap('gone', name));
    const cuttable = interruptible(kube);
    const errors: unknown[] = [];
    const { informer, changes } = inform(
      {
        list: (type, options) => cuttable.list(type, options),
        async *watch<T extends KubeObject>(type: ResourceType, options: WatchOptions) {
          try {
            yield* cuttable.watch<T>(type, options);
          } catch (error) {
            errors.push(error);
            throw error;
          }
        },
      },
      'gone',
    );
    informer.start();
    await informer.whenSynced();
    const resume = cuttable.interrupt();
    await kube.remove(CONFIG_MAPS, 'default', 'goes');
    await kube.apply(CONFIG_MAPS, 'default', configMap('gone', 'stays', '2'));
    await cluster().plane.compact();
    resume();
    await waitFor('the deletion', () => (informer.get('default/goes') === undefined ? true : undefined), SOON);
    expect(valueOf(informer, 'stays')).toBe('2');
    expect(informer.stats.lists).toBe(2);
    expect(errors.filter((error) => error instanceof KubeError).map(({ status }) => status)).toEqual([410]);
    expect(
      changes
        .slice(2)
        .map(({ key }) => key)
        .sort(),
    ).toEqual(['default/goes', 'default/stays']);
  });

  test('an object that was replaced while nobody watched is a deletion and an addition', async () => {
    const kube = kubeOf(cluster());
    await kube.apply(CONFIG_MAPS, 'default', configMap('twin', 'twin'));
    const cuttable = interruptible(kube);
    const { informer, changes } = inform(cuttable, 'twin');
    informer.start();
    await informer.whenSynced();
    const resume = cuttable.interrupt();
    await kube.remove(CONFIG_MAPS, 'default', 'twin');
    await kube.apply(CONFIG_MAPS, 'default', configMap('twin', 'twin', '2'));
    await cluster().plane.compact();
    resume();
    await waitFor('the new one', () => (valueOf(informer, 'twin') === '2' ? true : undefined), SOON);
    expect(changes.slice(1).map(({ before, after }) => [before?.data?.['value'], after?.data?.['value']])).toEqual([
      ['1', undefined],
      [undefined, '2'],
    ]);
  });

  test('a handler that throws is called again until it succeeds, with the state of then; others are not held up', async () => {
    const kube = kubeOf(cluster());
    const { informer, changes } = inform(kube, 'throws');
    const seen: Change<ConfigMap>[] = [];
    let broken = true;
    informer.onChange((change) => {
      if (broken) throw new Error('handler is broken');
      seen.push(change);
    });
    informer.start();
    await informer.whenSynced();
    await kube.apply(CONFIG_MAPS, 'default', configMap('throws', 'a'));
    await waitFor('two failed calls', () => (informer.handlerErrors >= 2 ? true : undefined), SOON);
    await kube.apply(CONFIG_MAPS, 'default', configMap('throws', 'a', '2'));
    await waitFor('the change', () => (valueOf(informer, 'a') === '2' ? true : undefined), SOON);
    expect(changes).toHaveLength(2);
    broken = false;
    await waitFor('the call', () => (seen.length > 0 ? true : undefined), SOON);
    expect(seen[0]).toMatchObject({ key: 'default/a', before: undefined, after: { data: { value: '2' } } });
  });

  test('a frozen API server is noticed by its silence', async () => {
    const kube = connectKube({ kubeconfig: cluster().kubeconfig, requestTimeoutMs: 1000 });
    cleanups.push(() => kube.close());
    await kube.apply(CONFIG_MAPS, 'default', configMap('frozen', 'f'));
    const { informer } = inform(kube, 'frozen', { timing: { silenceMs: 1500 } });
    informer.start();
    await informer.whenSynced();
    const pid = cluster().plane.apiServer.pid();
    if (pid === undefined) throw new Error('the API server has no process');
    process.kill(pid, 'SIGSTOP');
    try {
      await waitFor('a failure', () => (informer.stats.failures >= 1 ? true : undefined), SOON);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await waitFor('an answer', () => kube.apply(CONFIG_MAPS, 'default', configMap('frozen', 'f', '2')), SOON);
    await waitFor('the change', () => (valueOf(informer, 'f') === '2' ? true : undefined), SOON);
  });

  test('a kind in which nothing happens is no failure and no line in the log', async () => {
    const kube = kubeOf(cluster());
    const { log, lines } = capturingLogger();
    let watches = 0;
    const counted: Pick<Kube, 'list' | 'watch'> = {
      list: (type, options) => kube.list(type, options),
      watch: (type, options) => {
        watches++;
        return kube.watch(type, options);
      },
    };
    // Far shorter than the two minutes after which the API server sends its first bookmark.
    const { informer } = inform(counted, 'quiet', { log, timing: { silenceMs: 1100 } });
    informer.start();
    await informer.whenSynced();
    await waitFor('three silent watches', () => (watches > 3 ? true : undefined), SOON);
    await kube.apply(CONFIG_MAPS, 'default', configMap('quiet', 'q'));
    await waitFor('the change', () => valueOf(informer, 'q'), SOON);
    expect(informer.stats.failures).toBe(0);
    expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).not.toContain('warn');
    expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).not.toContain('info');
  });

  test('stop ends the watch and every timer', async () => {
    const { informer } = inform(kubeOf(cluster()), 'stopped');
    informer.start();
    await informer.whenSynced();
    await informer.stop();
    expect(informer.hasSynced).toBe(true);
  });
});
