// On a real node: certificate and CA are rotated under traffic. No stream to a limiter breaks, no pod is refused or
// admitted without a limiter, and limiters that connect anew afterwards trust what the kubelet has put into their
// volume meanwhile.
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { chat, tally, type Answer } from '../e2e/traffic.ts';
import { describeInstalled, SYSTEM } from './installed.ts';
import { namespace, sidecarRoute, workload } from './workloads.ts';

const SPACE = 'certificates';
const REF = ['modelroutes', SPACE, 'chat'] as const;
const SECRET = 'weir-certificates';
/** The kubelet renews mounted ConfigMaps within its sync period (60 s unless told otherwise) and its cache's. */
const PROPAGATION_S = 100;
/** That of our own node syncs every 5 s. */
const LOCAL_PROPAGATION_S = 25;
const SOON = { deadlineMs: 60_000, everyMs: 250 };
/** So that the API server opens a connection to the webhook now and then, and is not kept busy. */
const ADMISSION_EVERY_MS = 1000;

describeInstalled('a rotation', [namespace(SPACE, { 'weir.dev/inject': 'true' })], (weir) => {
  const answers: Answer[] = [];
  const admitted: string[] = [];
  let isOver = false;
  let running: Promise<unknown> = Promise.resolve();
  let connections = 0;
  const propagationS = (): number => (weir().cluster.local === undefined ? PROPAGATION_S : LOCAL_PROPAGATION_S);
  const [deployment = {}] = workload({ namespace: SPACE, name: 'chat', image: 'replaced', replicas: 2 });

  beforeAll(async () => {
    await weir().install({ 'certificates.caPropagation': `${propagationS()}s` });
    await weir().apply(...workload({ namespace: SPACE, name: 'chat', image: weir().image, replicas: 2 }));
    await applyLimit(1);
    await weir().rolledOut(SPACE, 'chat');
    await weir().untilCondition([...REF], 'Ready', { status: 'True', summary: '2/2' });
    connections = await connectionsSeen();
    running = Promise.all([traffic(), admissions()]);
  });
  afterAll(async () => {
    isOver = true;
    await running;
    await weir().install();
  });

  test('of the certificate is done within seconds, and the next edit reaches all', async () => {
    const before = await served();
    await rotate('leaf');
    await waitFor('another certificate', async () => ((await served()) === before ? undefined : true), SOON);
    await applyLimit(2);
    await weir().untilCondition([...REF], 'Ready', { status: 'True', summary: '2/2' });
  });

  test('of the CA waits until all trust it, then signs', async () => {
    const before = await signer();
    const beganMs = performance.now();
    await rotate('ca');
    await waitFor('a certificate of another CA', async () => ((await signer()) === before ? undefined : true), {
      deadlineMs: (propagationS() + 60) * 1000,
      everyMs: 1000,
    });
    expect(performance.now() - beganMs).toBeGreaterThan(propagationS() * 1000);
    await applyLimit(3);
    await weir().untilCondition([...REF], 'Ready', { status: 'True', summary: '2/2' });
  });

  test('broke no stream', async () => {
    expect(await connectionsSeen()).toBe(connections);
  });

  test('and limiters trust the new CA: all come back to operators that start anew', async () => {
    await weir().restart(SYSTEM, 'weir-operator');
    await applyLimit(4);
    await weir().untilCondition([...REF], 'Ready', { status: 'True', summary: '2/2' });
  });

  test('no call failed, and every pod was admitted with a limiter', async () => {
    isOver = true;
    await running;
    expect(tally(answers)).toEqual({ 200: answers.length });
    expect(answers.length).toBeGreaterThan(100);
    expect(admitted.filter((verdict) => verdict !== 'injected')).toEqual([]);
    expect(admitted.length).toBeGreaterThan(10);
  });

  async function applyLimit(edit: number): Promise<void> {
    await weir().apply(
      sidecarRoute(`${SPACE}/chat`, [{ name: 'all', bucket: { maxTokens: 1_000_000 - edit, refillPeriod: '1h' } }]),
    );
  }

  async function rotate(what: 'leaf' | 'ca'): Promise<void> {
    await weir().kubectl('annotate', 'secret', SECRET, '-n', SYSTEM, `weir.dev/rotate=${what}`);
  }

  async function secretKey(key: string): Promise<string> {
    const path = `jsonpath={.data.${key.replaceAll('.', String.raw`\.`)}}`;
    const text = await weir().kubectl('get', 'secret', SECRET, '-n', SYSTEM, '-o', path);
    return Buffer.from(text, 'base64').toString();
  }

  const served = async (): Promise<string> => new X509Certificate(await secretKey('tls.crt')).fingerprint256;
  const signer = async (): Promise<string> => new X509Certificate(await secretKey('ca.crt')).fingerprint256;

  /** How often a limiter has connected to the operators that run. */
  async function connectionsSeen(): Promise<number> {
    const selector = 'app.kubernetes.io/component=operator';
    const text = await weir().kubectl('logs', '-n', SYSTEM, '-l', selector, '--tail=-1');
    return text.split('\n').filter((line) => line.includes('"limiter connected"')).length;
  }

  async function traffic(): Promise<void> {
    const url = await weir().serviceUrl(SPACE, 'chat');
    while (!isOver) answers.push(await chat(url, 'llama'));
  }

  /** Asks the API server, which asks the webhook, for one pod after the other; none is made. */
  async function admissions(): Promise<void> {
    const { template } = deployment['spec'] as { template: { metadata: object; spec: object } };
    const metadata = { ...template.metadata, namespace: SPACE, name: 'asked' };
    const pod = JSON.stringify({ ...template, apiVersion: 'v1', kind: 'Pod', metadata });
    while (!isOver) {
      const { code, stdout, stderr } = await weir().tryKubectl(
        ['create', '--dry-run=server', '-o', 'json', '-f', '-'],
        pod,
      );
      if (code !== 0) admitted.push(stderr);
      else admitted.push(stdout.includes('weir.dev/injected') ? 'injected' : 'bare');
      await new Promise((resolve) => setTimeout(resolve, ADMISSION_EVERY_MS));
    }
  }
});
