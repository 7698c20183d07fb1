// On a real node: the chart's shared limiters, for workloads that get no sidecar: called through their Service, asked
// for decisions with a token, and by nobody who has none.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { call, chat, flood, tally } from '../e2e/traffic.ts';
import { describeInstalled, SYSTEM } from './installed.ts';
import { namespace, workload } from './workloads.ts';

const SPACE = 'shared';
const TOKENS = 'weir-decision-tokens';

const route = (maxTokens: number): object => ({
  apiVersion: 'weir.dev/v1alpha1',
  kind: 'ModelRoute',
  metadata: { namespace: SPACE, name: 'chat' },
  spec: {
    modelName: 'llama',
    targets: [{ service: { name: 'chat', port: 80 } }],
    rateLimiting: { limits: [{ name: 'all', measure: 'Requests', bucket: { maxTokens, refillPeriod: '8000h' } }] },
  },
});

describeInstalled(
  'shared limiters',
  [namespace(SPACE)],
  (weir) => {
    beforeAll(async () => {
      await weir().apply(...workload({ namespace: SPACE, name: 'chat', image: weir().image }), route(10));
      await weir().rolledOut(SPACE, 'chat');
    });

    afterAll(async () => {
      await weir().install();
      await weir().tryKubectl(['delete', 'secret', TOKENS, '-n', SYSTEM, '--ignore-not-found']);
    });

    test('two of them share one bucket, and say nothing to whoever asks for a decision', async () => {
      await weir().untilCondition(['modelroutes', SPACE, 'chat'], 'Ready', { status: 'False', reason: 'NoLimiters' });
      await weir().install({ 'sharedLimiter.enabled': 'true' });
      await weir().untilCondition(['modelroutes', SPACE, 'chat'], 'Ready', { status: 'True', summary: '2/2' });
      const url = await weir().serviceUrl(SYSTEM, 'weir-limiter');
      const answers = await flood(25, 8, () => chat(`${url}/${SPACE}/chat`, 'llama'));
      expect(tally(answers)).toEqual({ 200: 10, 429: 15 });
      expect((await chat(`${url}/${SPACE}/nobody`, 'llama')).status).toBe(404);
    });

    test('with tokens they decide for callers that have one', async () => {
      await weir().apply({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { namespace: SYSTEM, name: TOKENS },
        stringData: { tokens: 'gateway:open-sesame' },
      });
      await weir().install({ 'sharedLimiter.enabled': 'true', 'sharedLimiter.decisionTokens.name': TOKENS });
      await weir().apply(route(12));
      await weir().untilCondition(['modelroutes', SPACE, 'chat'], 'Ready', { status: 'True', summary: '2/2' });
      const url = `${await weir().serviceUrl(SYSTEM, 'weir-limiter', 8081)}/v1/decide`;
      const body = { object: { kind: 'ModelRoute', namespace: SPACE, name: 'chat' }, request: { model: 'llama' } };
      const ask = (headers: Record<string, string> = {}): ReturnType<typeof call> => call(url, { headers, body });
      expect((await ask()).status).toBe(401);
      expect((await ask({ authorization: 'Bearer wrong' })).status).toBe(401);
      // Two more than before, and no request in the meantime was charged.
      const decided = await flood(5, 1, () => ask({ authorization: 'Bearer open-sesame' }));
      const decisions = decided.map((answer) => (JSON.parse(answer.body) as { decision: string }).decision);
      expect(decisions).toEqual(['allowed', 'allowed', 'denied', 'denied', 'denied']);
    });
  },
  { local: true },
);
