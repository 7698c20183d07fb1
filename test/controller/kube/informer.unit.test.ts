// The informer where a real API server cannot be made to fail in this way: a version from another time (a restored
// etcd), a page that expires in the middle of a list, half an event. The API is played by a script.
import { afterEach, describe, expect, test } from '@jest/globals';
import { Informer } from '../../../src/controller/kube/informer.ts';
import { KubeError, type Kube, type ListPage, type WatchEvent } from '../../../src/controller/kube/kube-api.ts';
import type { KubeObject } from '../../../src/controller/kube/kube-types.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';

const SOON = { deadlineMs: 5000, everyMs: 5 };
let informer: Informer<KubeObject> | undefined;

afterEach(async () => {
  await informer?.stop();
  informer = undefined;
});

function object(name: string, resourceVersion: string): KubeObject {
  return { metadata: { name, namespace: 'default', uid: name, resourceVersion } };
}

function page(items: readonly KubeObject[], resourceVersion: string, next = ''): ListPage<KubeObject> {
  return { items, resourceVersion, next };
}

type Script<T> = readonly (() => T)[];

/** Plays the steps in order; the last list is repeated, after the last watch nothing comes any more. */
function play(
  lists: Script<ListPage<KubeObject>>,
  watches: Script<readonly WatchEvent<KubeObject>[]>,
): Pick<Kube, 'list' | 'watch'> {
  let [listed, watched] = [0, 0];
  const api = {
    list: () =>
      new Promise((resolve) => {
        const step = lists[Math.min(listed++, lists.length - 1)]!;
        resolve(step());
      }),
    async *watch(_type: unknown, { signal }: { signal: AbortSignal }) {
      const step = watches[watched++];
      if (step !== undefined) yield* step();
      else
        await new Promise((resolve) => {
          signal.addEventListener('abort', resolve);
        });
    },
  };
  return api as unknown as Pick<Kube, 'list' | 'watch'>;
}

function start(kube: Pick<Kube, 'list' | 'watch'>, log = silentLogger()): Informer<KubeObject> {
  const made = new Informer<KubeObject>({
    kube,
    type: { group: '', version: 'v1', plural: 'things' },
    namespaces: [],
    trim: (thing) => thing,
    log,
    timing: { baseBackoffMs: 1, maxBackoffMs: 2 },
  });
  informer = made;
  made.start();
  return made;
}

const fail =
  (status: number): (() => never) =>
  () => {
    throw new KubeError(status, 'Test', `answer ${status}`);
  };

test('a version that the server does not know yet is given up after five tries', async () => {
  const kube = play(
    [() => page([object('a', '900')], '900'), () => page([object('b', '5')], '5')],
    Array(5).fill(fail(504)),
  );
  const made = start(kube);
  await waitFor('the second list', () => made.get('default/b'), SOON);
  expect(made.get('default/a')).toBeUndefined();
  expect(made.stats.lists).toBe(2);
});

test('an API server that is away or starting says nothing about the version: no second list', async () => {
  const refused = (): never => {
    throw new Error('connect ECONNREFUSED');
  };
  const back = (): WatchEvent<KubeObject>[] => [{ type: 'ADDED', object: object('b', '11') }];
  const watches = [
    ...Array<() => never>(12).fill(refused),
    ...Array<() => never>(8).fill(fail(503)),
    fail(429),
    fail(403),
    back,
  ];
  const made = start(play([() => page([object('a', '10')], '10')], watches));
  await waitFor('the event', () => made.get('default/b'), SOON);
  expect(made.stats.lists).toBe(1);
});

test('a list whose next page has expired is begun again; nothing is synced or missing meanwhile', async () => {
  const expired = fail(410);
  const whole = (): ListPage<KubeObject> => page([object('a', '1'), object('b', '2')], '20');
  const made = start(play([() => page([object('a', '1')], '10', 'more'), expired, whole], []));
  await made.whenSynced();
  expect([...made.values()].map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
});

test('a watch that ends at once again and again is no tight loop, and no reason to list', async () => {
  const made = start(
    play(
      [() => page([], '1')],
      [...Array<() => never[]>(20).fill(() => []), () => [{ type: 'ADDED', object: object('a', '2') }]],
    ),
  );
  await waitFor('the event', () => made.get('default/a'), SOON);
  expect(made.stats.lists).toBe(1);
});

test('an event that is older than what our own write returned does not turn the clock back', async () => {
  const made = start(
    play(
      [() => page([object('a', '1')], '1')],
      [
        () => {
          made.observe({ ...object('a', '5'), kind: 'Written' });
          return [
            { type: 'MODIFIED', object: { ...object('a', '4'), kind: 'Old' } },
            { type: 'ADDED', object: object('marker', '6') },
          ];
        },
      ],
    ),
  );
  await waitFor('the marker', () => made.get('default/marker'), SOON);
  expect(made.get('default/a')?.kind).toBe('Written');
});

const silence = (): never => {
  throw Object.assign(new Error('Body Timeout Error'), { code: 'UND_ERR_BODY_TIMEOUT' });
};
const cut = (): never => {
  throw Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' });
};
/** After this, the server's own end of a watch of its usual length. */
const news = (version: string) => (): WatchEvent<KubeObject>[] => [{ type: 'BOOKMARK', object: object('', version) }];

describe('what the log says of a watch that ends', () => {
  test.each<[string, Script<readonly WatchEvent<KubeObject>[]>, string[], number]>([
    ['at the end of its time', [news('2'), news('3'), news('4')], [], 0],
    ['after silence, again and again', Array(4).fill(silence), Array(4).fill('debug watch was silent'), 0],
    ['with an expired version', [news('2'), fail(410)], ['debug watch interrupted'], 1],
    ['cut once', [news('2'), cut, news('3')], ['info watch interrupted'], 1],
    ['cut twice, with success between', [cut, news('2'), cut, news('3')], Array(2).fill('info watch interrupted'), 2],
    [
      'cut three times in a row',
      [cut, cut, cut],
      ['info', 'warn', 'warn'].map((level) => `${level} watch interrupted`),
      3,
    ],
    ['refused', [fail(403), fail(403)], ['info watch interrupted', 'warn watch interrupted'], 2],
  ])('%s', async (_name, watches, lines, failures) => {
    const { log, lines: logged } = capturingLogger();
    const change = (): WatchEvent<KubeObject>[] => [{ type: 'ADDED', object: object('last', '99') }];
    const made = start(play([() => page([], '1')], [...watches, change]), log);
    await waitFor('the last event', () => made.get('default/last'), SOON);
    const texts = logged.map((line) => JSON.parse(line) as { level: string; message: string });
    expect(texts.map(({ level, message }) => `${level} ${message}`)).toEqual(lines);
    expect(made.stats.failures).toBe(failures);
  });

  test('five silent watches in a row are followed by a list: the version may be from another time', async () => {
    const made = start(play([() => page([], '900'), () => page([object('b', '5')], '5')], Array(5).fill(silence)));
    await waitFor('the second list', () => made.get('default/b'), SOON);
    expect(made.stats).toEqual({ lists: 2, failures: 0 });
  });
});
