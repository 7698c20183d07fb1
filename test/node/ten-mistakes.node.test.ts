// On a real node 8: ten ways to get it wrong. Each is told by kubectl: what is wrong, and how to mend it
// (docs/troubleshooting.md).
import { beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { conditionOf, type WeirObject } from '../e2e/harness.ts';
import { describeInstalled, SYSTEM } from './installed.ts';
import { namespace, sidecarRoute, workload } from './workloads.ts';

const SPACE = 'mistakes';

const limit = (more: object = {}): object => ({
  name: 'all',
  measure: 'Requests',
  bucket: { maxTokens: 100, refillPeriod: '8000h' },
  ...more,
});

describeInstalled('ten ways to get it wrong', [namespace(SPACE, { 'weir.dev/inject': 'true' })], (weir) => {
  const image = (): string => weir().image;
  const route = (name: string, spec: object): object => {
    const base = sidecarRoute(`${SPACE}/${name}`, [limit()]);
    return { ...base, spec: { ...base.spec, modelName: name, ...spec } };
  };
  /** Waits for what the object says of one aspect; answers the message that a user reads. */
  const told = async (name: string, type: string, status: 'True' | 'False', reason: string): Promise<string> => {
    const object: WeirObject = await weir().untilCondition(
      ['modelroutes', SPACE, name],
      type,
      { status, reason },
      90_000,
    );
    const described = await weir().kubectl('describe', 'modelroutes.weir.dev', name, '-n', SPACE);
    expect(described).toContain(reason);
    return conditionOf(object, type)?.message ?? '';
  };
  const redis = (more: object): object => ({
    rateLimiting: { limits: [limit()], redis: { address: `redis.${SPACE}.svc:6379`, ...more } },
  });

  beforeAll(async () => {
    await weir().apply(
      ...workload({ namespace: SPACE, name: 'well', image: image() }),
      sidecarRoute(`${SPACE}/well`, [limit()], { modelName: 'well' }),
    );
    await weir().rolledOut(SPACE, 'well');
    await weir().untilCondition(['modelroutes', SPACE, 'well'], 'Ready', { status: 'True', summary: '1/1' });
  });

  test('1: a typo in the selector', async () => {
    await weir().apply(route('typo', { workloadSelector: { matchLabels: { app: 'wel' } } }));
    expect(await told('typo', 'Programmed', 'False', 'NoMatchingPods')).toContain('workloadSelector');
  });

  test('2: a Secret that is not there, first without the right to read it', async () => {
    const spec = redis({ passwordSecretRef: { name: 'no-such-secret', key: 'password' } });
    await weir().apply(route('secretless', { ...spec, workloadSelector: { matchLabels: { app: 'well' } } }));
    const message = await told('secretless', 'ResolvedRefs', 'False', 'SecretForbidden');
    const command = /kubectl -n weir-system exec deploy\/weir-operator -- weir grant .*$/.exec(message)?.[0] ?? '';
    expect(command).toContain(`--namespace ${SPACE} --secret no-such-secret | kubectl apply -f -`);
    // As it stands there.
    await weir().shell(command);
    expect(await told('secretless', 'ResolvedRefs', 'False', 'SecretNotFound')).toContain('no-such-secret');
  });

  test('3: a Secret without the label', async () => {
    await grant('plain');
    await weir().kubectl('create', 'secret', 'generic', 'plain', '-n', SPACE, '--from-literal=password=very-well-kept');
    const spec = redis({ passwordSecretRef: { name: 'plain', key: 'password' } });
    await weir().apply(route('unlabelled', { ...spec, workloadSelector: { matchLabels: { app: 'well' } } }));
    const message = await told('unlabelled', 'ResolvedRefs', 'False', 'SecretNotPermitted');
    expect(message).toContain('weir.dev/credential');
    expect(message).not.toContain('very-well-kept');
  });

  test('4: a port that the Service does not have', async () => {
    const targets = [{ service: { name: 'well', port: 8080 } }];
    await weir().apply(route('portless', { targets, workloadSelector: { matchLabels: { app: 'well' } } }));
    expect(await told('portless', 'ResolvedRefs', 'False', 'PortNotFound')).toMatch(/8080.*80/);
  });

  test('5: a Redis that does not answer', async () => {
    await weir().apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: SPACE, name: 'redis' },
      spec: { selector: { app: 'nobody' }, ports: [{ port: 6379 }] },
    });
    await weir().apply(route('storeless', { ...redis({}), workloadSelector: { matchLabels: { app: 'well' } } }));
    expect(await told('storeless', 'Degraded', 'True', 'StoreUnreachable')).toContain(`redis.${SPACE}.svc:6379`);
  });

  test('6: the webhook is down: pods start, and are told to be without limits', async () => {
    await weir().kubectl('scale', 'deployment', 'weir-operator', '-n', SYSTEM, '--replicas=0');
    await weir().kubectl(
      'wait',
      'pods',
      '-n',
      SYSTEM,
      '-l',
      'app.kubernetes.io/component=operator',
      '--for=delete',
      '--timeout=90s',
    );
    await weir().apply(...workload({ namespace: SPACE, name: 'bare', image: image() }));
    await weir().rolledOut(SPACE, 'bare');
    await weir().kubectl('scale', 'deployment', 'weir-operator', '-n', SYSTEM, '--replicas=2');
    await weir().rolledOut(SYSTEM, 'weir-operator');
    await weir().apply(sidecarRoute(`${SPACE}/bare`, [limit()], { modelName: 'bare' }));
    expect(await told('bare', 'Programmed', 'False', 'UnlimitedPods')).toMatch(/bare-.*restart/s);
  });

  test('7: two routes with one model and one match', async () => {
    await weir().apply(route('second', { modelName: 'well', workloadSelector: { matchLabels: { app: 'well' } } }));
    expect(await told('second', 'Accepted', 'False', 'Conflicted')).toContain(`${SPACE}/well`);
  });

  test('8: a limit per user without authentication is refused at once', async () => {
    const spec = { rateLimiting: { limits: [limit({ per: [{ user: {} }] })] } };
    const { code, stderr } = await weir().tryKubectl(['apply', '-f', '-'], JSON.stringify(route('anonymous', spec)));
    expect(code).not.toBe(0);
    expect(stderr).toContain('perUser rate limiting requires authentication');
  });

  test('9: an upstream that is dead', async () => {
    const targets = [{ service: { name: 'redis', port: 6379 } }];
    await weir().apply(route('dead', { targets, workloadSelector: { matchLabels: { app: 'well' } } }));
    await weir().untilCondition(['modelroutes', SPACE, 'dead'], 'Programmed', { status: 'True' });
    // Refused at once, or not answered in time: the caller learns that it is not the limit.
    const statuses = (await weir().ask(SPACE, 'well', 3, 'dead')).map(({ status }) => status);
    expect(statuses.every((status) => status === 502 || status === 504)).toBe(true);
    expect(await told('dead', 'Degraded', 'True', 'UpstreamUnreachable')).toContain('redis');
  });

  test('10: an image of the limiter that cannot be pulled', async () => {
    await weir().apply(
      ...workload({
        namespace: SPACE,
        name: 'imageless',
        image: image(),
        annotations: { 'weir.dev/image': 'weir.invalid/no-such-image:1' },
      }),
      sidecarRoute(`${SPACE}/imageless`, [limit()], { modelName: 'imageless' }),
    );
    const object = await weir().untilCondition(['modelroutes', SPACE, 'imageless'], 'Programmed', {
      status: 'False',
      reason: 'Pending',
    });
    expect(object.status?.limiters?.summary).toBe('0/1');
    // The kubelet says so after it has tried.
    await waitFor(
      'the word of the kubelet',
      async () => {
        const message = await told('imageless', 'Programmed', 'False', 'Pending');
        return /imageless-.*(ImagePullBackOff|ErrImagePull)/s.test(message) ? true : undefined;
      },
      { deadlineMs: 60_000, everyMs: 500 },
    );
  });

  test('none of them touches the route that is well', async () => {
    await weir().untilCondition(['modelroutes', SPACE, 'well'], 'Ready', { status: 'True' });
    expect((await weir().ask(SPACE, 'well', 3, 'well')).map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  async function grant(secret: string): Promise<void> {
    const text = await weir().weir(['grant', '--namespace', SPACE, '--secret', secret]);
    const { code, stderr } = await weir().tryKubectl(['apply', '-f', '-'], text);
    expect([code, stderr]).toEqual([0, '']);
  }
});
