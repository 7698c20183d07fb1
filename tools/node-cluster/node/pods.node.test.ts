// Stage: tests of a cluster with a node. Input: small pods. Output: proof that names, Services, exec, logs,
// port-forward, sidecars and Pod Security work in it.
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describeOnNode } from '../describe-node.ts';
import { freePorts, isOpen } from '../ports.ts';
import { waitFor } from '../wait.ts';
import { baseImage, obtainBaseImage } from './test-images.ts';

const namespace = 'node-proof';

const restricted = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  runAsUser: 65532,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

const server = (port: number, answer: string): string =>
  `console.log('serving');process.on('SIGTERM',()=>process.exit(0));` +
  `require('http').createServer((q,s)=>s.end('${answer}')).listen(${port})`;

const container = (name: string, port: number): object => ({
  name,
  image: baseImage,
  imagePullPolicy: 'IfNotPresent',
  command: ['node', '-e', server(port, name)],
  securityContext: restricted,
  readinessProbe: { httpGet: { path: '/', port }, periodSeconds: 1 },
});

const objects = [
  {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
  },
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          initContainers: [{ ...container('helper', 9000), restartPolicy: 'Always' }],
          containers: [container('web', 8000)],
        },
      },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8000 }] },
  },
];

describeOnNode('a cluster with a node', { local: true }, (cluster) => {
  const call = (...args: string[]): Promise<string> => cluster().mustKubectl(['-n', namespace, ...args]);

  beforeAll(async () => {
    await obtainBaseImage(() => undefined);
    await cluster().loadImage(baseImage);
    await cluster().mustKubectl(['apply', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
    });
    await cluster().mustKubectl(['-n', namespace, 'rollout', 'status', 'deployment/web', '--timeout=90s'], {
      timeoutMs: 100_000,
    });
  }, 400_000);

  afterAll(async () => {
    await cluster().kubectl(['delete', 'namespace', namespace, '--wait=true'], { timeoutMs: 90_000 });
  }, 100_000);

  test('a pod calls another by the name of its Service', async () => {
    const script = (url: string): string => `fetch('${url}').then((r) => r.text()).then(console.log)`;
    for (const host of ['web', `web.${namespace}.svc`, `web.${namespace}.svc.cluster.local`]) {
      const said = await waitFor(
        `answer of ${host}`,
        () => call('exec', 'deploy/web', '-c', 'web', '--', 'node', '-e', script(`http://${host}`)),
        {
          deadlineMs: 20_000,
        },
      );
      expect(said.trim()).toBe('web');
    }
  });

  test('where no Service is, nothing answers in its place, to the node or to a pod', async () => {
    const [address, port] = ['10.96.255.254', 80];
    expect(await isOpen(port, address)).toBe(false);
    const script = `require('net').connect(${port},'${address}').setTimeout(1000)
      .on('connect',()=>say('open')).on('timeout',()=>say('closed')).on('error',()=>say('closed'));
      function say(word){console.log(word);process.exit(0)}`;
    expect((await call('exec', 'deploy/web', '-c', 'web', '--', 'node', '-e', script)).trim()).toBe('closed');
  });

  test('its native sidecar runs beside it, and its logs are read', async () => {
    const state = await call(
      'get',
      'pod',
      '-l',
      'app=web',
      '-o',
      'jsonpath={.items[*].status.initContainerStatuses[*].ready}',
    );
    expect(state).toBe('true true');
    expect(await call('logs', 'deploy/web', '-c', 'helper')).toContain('serving');
  });

  test('port-forward reaches a pod', async () => {
    const [port = 0] = await freePorts(1);
    const { kubectlProgram, kubeconfig } = cluster();
    const forward = spawn(kubectlProgram, ['-n', namespace, 'port-forward', 'service/web', `${port}:80`], {
      env: { ...process.env, KUBECONFIG: kubeconfig },
      stdio: 'ignore',
    });
    try {
      const answer = await waitFor(
        'forwarded answer',
        async () => await (await fetch(`http://127.0.0.1:${port}`)).text(),
        {
          deadlineMs: 20_000,
        },
      );
      expect(answer).toBe('web');
    } finally {
      forward.kill();
    }
  });

  test('the namespace refuses a pod that may do more than restricted', async () => {
    const { code, stderr } = await cluster().kubectl([
      '-n',
      namespace,
      'run',
      'bold',
      `--image=${baseImage}`,
      '--privileged',
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toContain('violates PodSecurity "restricted');
  });
});
