// Certificates on a real API server: one Secret for all replicas, leaf and CA rotated under open streams, the CA
// handed out and put back where somebody took it away.
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { certificatesIn } from '../../../src/controller/certificates/certificate-authority.ts';
import { ELECTION_TIMING } from '../../../src/controller/election/leader-election.ts';
import { runOperator } from '../../../src/controller/main.ts';
import type { OperatorSettings, RunningOperator } from '../../../src/controller/settings.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { ConfigClient } from '../../../src/limiter/config/config-client.ts';
import { describeOnControlPlane, type OwnTestCluster } from '../../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';
import { counter, prepareCluster, route } from '../operator-rig.ts';

const OWN = 'weir-system';
const SECRET = 'weir-certificates';
const soon = { deadlineMs: 20_000, everyMs: 50 };

describeOnControlPlane('certificates in a Secret', {}, (cluster) => {
  const undo: (() => Promise<unknown>)[] = [];
  let folder = '';

  const kubectl = (...args: string[]): Promise<string> => cluster().mustKubectl(args);
  const secretData = async (): Promise<Record<string, string>> => {
    const { data } = JSON.parse(await kubectl('-n', OWN, 'get', 'secret', SECRET, '-o', 'json')) as {
      data: Record<string, string>;
    };
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
    );
  };
  const bundleIn = (namespace: string): Promise<string> =>
    kubectl('-n', namespace, 'get', 'configmap', 'weir-ca', '-o', 'jsonpath={.data.ca\\.crt}');
  const caBundle = async (): Promise<string> => {
    const path = 'jsonpath={.webhooks[*].clientConfig.caBundle}';
    return Buffer.from(
      await kubectl('get', 'mutatingwebhookconfigurations', 'weir-injector', '-o', path),
      'base64',
    ).toString();
  };
  const countIn = (bundle: string): number => certificatesIn(bundle).length;

  async function startOperator(more: Partial<OperatorSettings> = {}): Promise<RunningOperator> {
    const operator = await runOperator({
      source: { kind: 'cluster', kubeconfig: cluster().kubeconfig, namespaces: [] },
      pushListen: { host: '127.0.0.1', port: 0 },
      adminListen: { host: '127.0.0.1', port: 0 },
      tlsDir: join(folder, 'unused'),
      tlsNames: [],
      certificateSecret: SECRET,
      ownNamespace: OWN,
      webhookConfiguration: 'weir-injector',
      webhookService: 'weir-webhook',
      egressAllow: [],
      logLevel: 'error',
      log: silentLogger(),
      reconnectGraceMs: 0,
      ...more,
    });
    undo.push(() => operator.stop());
    return operator;
  }

  /** A limiter whose CA file holds the bundle; it counts how often it was connected. */
  async function startLimiter(
    operator: RunningOperator,
    bundle: string,
  ): Promise<{ connects: () => number; isOn: () => boolean }> {
    const files = await mkdtemp(join(folder, 'limiter-'));
    const account = ['-n', OWN, 'weir-limiter'];
    await writeFile(join(files, 'token'), await kubectl('create', 'token', ...account, '--audience', 'weir.dev'));
    await writeFile(join(files, 'ca.crt'), bundle);
    let connects = 0;
    let isOn = false;
    const client = new ConfigClient({
      operator: `127.0.0.1:${operator.pushPort}`,
      caFile: join(files, 'ca.crt'),
      tokenFile: join(files, 'token'),
      self: { nodeId: files.replaceAll('/', '_'), version: 'test' },
      log: silentLogger(),
      observer: {
        connected: (now) => {
          isOn = now;
          if (now) connects += 1;
        },
      },
    });
    await client.start(({ updates }) => updates.map(({ name, version }) => ({ name, version, accepted: true })));
    undo.push(() => client.close());
    await waitFor('the stream', () => isOn || undefined, soon);
    return { connects: () => connects, isOn: () => isOn };
  }

  const rotate = (what: string): Promise<string> =>
    kubectl('-n', OWN, 'annotate', 'secret', SECRET, `weir.dev/rotate=${what}`, '--overwrite');

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-certificates-'));
    await prepareCluster(cluster());
    await makeWebhookConfiguration(cluster());
  }, 60_000);
  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
  }, 60_000);
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test('two replicas that start at once make one Secret and serve one CA; a third keeps it', async () => {
    await Promise.all([startOperator(), startOperator()]);
    const kept = await secretData();
    expect(Object.keys(kept).sort()).toEqual(['ca.crt', 'ca.key', 'state.json', 'tls.crt', 'tls.key']);
    await waitFor('the ConfigMap', () => bundleIn(OWN), soon);
    for (const step of undo.splice(0)) await step();
    const operator = await startOperator();
    expect((await secretData())['ca.crt']).toBe(kept['ca.crt']);
    expect(await bundleIn(OWN)).toBe(kept['ca.crt']);
    expect(await servedBy(operator, kept['ca.crt']!)).toBe(new X509Certificate(kept['tls.crt']!).fingerprint256);
    expect(new X509Certificate(kept['tls.crt']!).checkHost('weir-webhook.weir-system.svc')).toBeDefined();
  });

  test('a leaf is rotated under an open stream on every replica; the bundle stays, and no stream ends', async () => {
    const election = { ...ELECTION_TIMING, namespace: OWN, leaseName: 'weir-operator' };
    const leader = await startOperator({ election });
    await waitFor('the lease', async () => (await counter(leader, 'weir_is_leader')) === 1 || undefined, soon);
    const other = await startOperator({ election });
    const before = await secretData();
    const limiter = await startLimiter(leader, before['ca.crt']!);
    await rotate('leaf');
    const after = await waitFor('another leaf', async () => different(await secretData(), before, 'tls.crt'), soon);
    expect(after['ca.crt']).toBe(before['ca.crt']);
    const fingerprint = new X509Certificate(after['tls.crt']!).fingerprint256;
    for (const operator of [leader, other]) {
      await waitFor(
        'the new leaf',
        async () => (await servedBy(operator, before['ca.crt']!)) === fingerprint || undefined,
        soon,
      );
    }
    await startLimiter(leader, before['ca.crt']!);
    expect([limiter.connects(), limiter.isOn()]).toEqual([1, true]);
    expect(await kubectl('-n', OWN, 'get', 'secret', SECRET, '-o', 'jsonpath={.metadata.annotations}')).not.toMatch(
      /rotate/,
    );
  });

  test('a CA is handed out before it signs; limiters with the old and with the new bundle come in; the old one leaves', async () => {
    const rotation = { leafLifeMs: 20_000, propagationMs: 10_000 };
    await kubectl('-n', OWN, 'delete', 'secret', SECRET);
    await kubectl('create', 'namespace', 'tenant');
    await kubectl('label', 'namespace', 'tenant', 'weir.dev/inject=true');
    const operator = await startOperator({ rotation });
    const before = await secretData();
    const old = before['ca.crt']!;
    const limiter = await startLimiter(operator, old);
    await rotate('ca');
    const both = await waitFor(
      'both',
      async () => {
        const held = await bundleIn('tenant');
        return countIn(held) === 2 ? held : undefined;
      },
      soon,
    );
    await waitFor('both in the webhook', async () => (await caBundle()) === both || undefined, soon);
    const early = await secretData();
    expect(new X509Certificate(early['tls.crt']!).verify(new X509Certificate(old).publicKey)).toBe(true);
    await startLimiter(operator, old);
    await startLimiter(operator, both);
    const promoted = await waitFor('the promotion', async () => different(await secretData(), before, 'ca.crt'), soon);
    expect(new X509Certificate(promoted['tls.crt']!).verify(new X509Certificate(promoted['ca.crt']!).publicKey)).toBe(
      true,
    );
    expect(promoted['old-ca.crt']).toBe(old);
    await startLimiter(operator, both);
    const left = await waitFor(
      'the old CA to leave',
      async () => {
        const held = await bundleIn('tenant');
        return countIn(held) === 1 ? held : undefined;
      },
      { ...soon, deadlineMs: 45_000 },
    );
    expect(left).toBe(promoted['ca.crt']);
    await waitFor('it to leave the webhook', async () => (await caBundle()) === left || undefined, soon);
    await startLimiter(operator, left);
    expect([limiter.connects(), limiter.isOn()]).toEqual([1, true]);
  }, 120_000);

  test('what was taken away or changed is put back by the holder of the lease', async () => {
    await holdLease(cluster());
    const operator = await startOperator({
      election: { ...ELECTION_TIMING, namespace: OWN, leaseName: 'weir-operator' },
    });
    const bundle = await bundleIn(OWN);
    await kubectl('-n', OWN, 'delete', 'configmap', 'weir-ca');
    await kubectl(
      '-n',
      'tenant',
      'patch',
      'configmap',
      'weir-ca',
      '--type=merge',
      '-p',
      '{"data":{"ca.crt":"forged"}}',
    );
    await makeWebhookConfiguration(cluster());
    expect(await bundleIn('tenant')).toBe('forged');
    expect(await counter(operator, 'weir_is_leader')).toBe(0);
    await kubectl('-n', OWN, 'delete', 'lease', 'weir-operator');
    await waitFor('the ConfigMap', async () => (await bundleIn(OWN)) === bundle || undefined, soon);
    await waitFor('its content', async () => (await bundleIn('tenant')) === bundle || undefined, soon);
    await waitFor('the webhook', async () => (await caBundle()) === bundle || undefined, soon);
    await kubectl('-n', OWN, 'delete', 'configmap', 'weir-ca');
    await waitFor('the ConfigMap again', async () => (await bundleIn(OWN)) === bundle || undefined, soon);
    await makeWebhookConfiguration(cluster());
    await waitFor('the webhook again', async () => (await caBundle()) === bundle || undefined, soon);
    const labels = await kubectl('get', 'configmap,secret', '-A', '-l', 'app.kubernetes.io/part-of=weir', '-o', 'name');
    expect(labels.trim().split('\n').sort()).toEqual([
      'configmap/weir-ca',
      'configmap/weir-ca',
      'secret/weir-certificates',
    ]);
  });

  test('a Secret that was deleted under a running operator comes back with the same CA', async () => {
    await startOperator();
    const before = await secretData();
    await kubectl('-n', OWN, 'delete', 'secret', SECRET);
    await waitFor(
      'the Secret',
      async () => ((await secretData())['ca.crt'] === before['ca.crt'] ? true : undefined),
      soon,
    );
  });

  test('a namespace with an injected pod is given the CA, one without is not', async () => {
    await startOperator();
    for (const name of ['with-pod', 'without']) {
      await kubectl('create', 'namespace', name);
      await kubectl('-n', name, 'create', 'serviceaccount', 'default');
      const annotations = name === 'with-pod' ? ['--annotations=weir.dev/injected=0.2.0'] : [];
      await kubectl('-n', name, 'run', 'one', '--image=none', ...annotations);
    }
    await waitFor('the ConfigMap', async () => (await bundleIn('with-pod')) !== '' || undefined, soon);
    await expect(bundleIn('without')).rejects.toThrow(/not found/);
  });

  test('a Secret that cannot be used is said to be so by its key; the last good one is served, a new operator waits', async () => {
    const { log, lines } = capturingLogger();
    const operator = await startOperator({ log });
    const good = await secretData();
    const patch = JSON.stringify({ data: { 'tls.key': Buffer.from(good['ca.key']!).toString('base64') } });
    await kubectl('-n', OWN, 'patch', 'secret', SECRET, '--type=merge', '-p', patch);
    await waitFor(
      'the fault',
      async () => ((await operator.metrics()).includes('weir_certificate_faults 1') ? true : undefined),
      soon,
    );
    expect(JSON.stringify(lines)).toContain('tls.key is not the key of tls.crt');
    expect(JSON.stringify(lines)).not.toContain(good['ca.key']!.split('\n')[1]);
    expect(await servedBy(operator, good['ca.crt']!)).toBe(new X509Certificate(good['tls.crt']!).fingerprint256);
    const second = startOperator({ adminListen: { host: '127.0.0.1', port: 0 } });
    const mended = JSON.stringify({ data: { 'tls.key': Buffer.from(good['tls.key']!).toString('base64') } });
    await kubectl('-n', OWN, 'patch', 'secret', SECRET, '--type=merge', '-p', mended);
    expect(await servedBy(await second, good['ca.crt']!)).toBe(new X509Certificate(good['tls.crt']!).fingerprint256);
    const expiry = /weir_certificate_expiry_timestamp_seconds\{certificate="leaf"\} (\d+)/.exec(
      await operator.metrics(),
    );
    expect(Number(expiry?.[1])).toBe(Date.parse(new X509Certificate(good['tls.crt']!).validTo) / 1000);
  });

  test('a Secret of somebody else (cert-manager) is served, followed and never written', async () => {
    const ours = await secretData();
    await kubectl('-n', OWN, 'delete', 'secret', SECRET);
    const files = await Promise.all(
      ['tls.crt', 'tls.key', 'ca.crt'].map(async (name) => {
        await writeFile(join(folder, name), ours[name]!);
        return `--from-file=${name}=${join(folder, name)}`;
      }),
    );
    await kubectl('-n', OWN, 'create', 'secret', 'generic', SECRET, '--type=kubernetes.io/tls', ...files);
    const version = ['-n', OWN, 'get', 'secret', SECRET, '-o', 'jsonpath={.metadata.resourceVersion}'];
    const before = await kubectl(...version);
    const operator = await startOperator({ webhookConfiguration: undefined });
    expect(await servedBy(operator, ours['ca.crt']!)).toBe(new X509Certificate(ours['tls.crt']!).fingerprint256);
    await rotate('leaf');
    await kubectl('apply', '--server-side', '-f', await manifestOf(folder, route('still-works')));
    expect(Number(await kubectl(...version))).toBeGreaterThan(Number(before));
    expect(await secretData()).toEqual({
      'tls.crt': ours['tls.crt'],
      'tls.key': ours['tls.key'],
      'ca.crt': ours['ca.crt'],
    });
  });
});

/** The data, when the key of it is another than before. */
function different(
  now: Record<string, string>,
  before: Record<string, string>,
  key: string,
): Record<string, string> | undefined {
  return now[key] === before[key] ? undefined : now;
}

/** The fingerprint of the leaf that a new connection is shown; rejects unless the bundle vouches for it. */
function servedBy(operator: RunningOperator, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: operator.pushPort, ca, ALPNProtocols: ['h2'] }, () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? '');
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

async function manifestOf(folder: string, object: unknown): Promise<string> {
  const file = join(folder, 'manifest.json');
  await writeFile(file, JSON.stringify(object));
  return file;
}

/** Somebody else has the lease, for an hour. */
async function holdLease(cluster: OwnTestCluster): Promise<void> {
  const renewTime = new Date().toISOString().replace('Z', '000Z');
  const lease = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'weir-operator', namespace: OWN },
    spec: { holderIdentity: 'somebody', leaseDurationSeconds: 3_600, acquireTime: renewTime, renewTime },
  };
  await cluster.kubectl(['-n', OWN, 'delete', 'lease', 'weir-operator', '--ignore-not-found']);
  await cluster.mustKubectl(['create', '-f', '-'], { input: JSON.stringify(lease) });
}

/** As `helm install` and `helm upgrade` leave it: without a CA. */
async function makeWebhookConfiguration(cluster: OwnTestCluster): Promise<void> {
  const webhook = {
    name: 'inject.weir.dev',
    clientConfig: { service: { namespace: OWN, name: 'weir-webhook', path: '/inject' } },
    rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }],
    objectSelector: { matchLabels: { nobody: 'has-it' } },
    failurePolicy: 'Ignore',
    sideEffects: 'NoneOnDryRun',
    admissionReviewVersions: ['v1'],
  };
  const configuration = {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'weir-injector' },
    webhooks: [webhook],
  };
  await cluster.kubectl(['delete', 'mutatingwebhookconfiguration', 'weir-injector', '--ignore-not-found']);
  await cluster.mustKubectl(['create', '-f', '-'], { input: JSON.stringify(configuration) });
}
