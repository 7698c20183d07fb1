// Upgrade: the previous release beside this one. An old limiter serves under the new operator, a new limiter under
// the old operator, edits reach both, and one limit is one limit over the two of them.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ownCapabilities } from '../../src/contract/capabilities.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { previousRelease } from '../rig/upgrade/previous-release.ts';
import { conditionOf, describeEndToEnd, type EndToEnd } from './harness.ts';
import { refOf, requestLimit, type Manifest } from './manifests.ts';

const found = await previousRelease();
const title = 'upgrade from the previous release';

if ('missing' in found) leaveOut(title, found.missing, () => undefined);
else {
  const { program: previous, version } = found;
  const PATIENT = ['--store-deadline', '2s'];
  /** What this release can and the previous one cannot, and a spec that asks for it. */
  const NEWER: readonly (readonly [capability: string, spec: Manifest['spec']])[] = [
    ['model.every', { modelName: '*' }],
  ];

  describe(`${title}, ${version}`, () => {
    describeEndToEnd('the operator first', { limiters: 0, operatorProgram: () => previous }, (e2e) => {
      const route = (name: string, maxTokens: number): Manifest =>
        e2e().route(`roll/${name}`, { limits: [requestLimit('all', maxTokens)] });

      beforeAll(async () => {
        await e2e().makeNamespace('roll');
        await startLimiters(e2e(), previous);
        await e2e().enforce(route('kept', 100));
        await e2e().enforce(route('edited', 5));
        expect(await e2e().send('roll/kept', 20)).toEqual({ 200: 20 });
      });

      test('old limiters go on under the new operator: nothing is sent again that they have, and the status is right', async () => {
        await e2e().weir.startOperator();
        await e2e().untilReady(refOf(route('kept', 100)));
        expect(await e2e().send('roll/kept', 20)).toEqual({ 200: 20 });
      });

      test('an edit made by the new operator is in force on them', async () => {
        await e2e().enforce(route('edited', 8));
        expect(await e2e().send('roll/edited', 20)).toEqual({ 200: 8, 429: 12 });
      });

      const newer = NEWER.filter(([id]) => ownCapabilities().has(id));
      (newer.length === 0 ? test.skip : test)(
        'what they cannot do they refuse in words, and what they have stays in force',
        async () => {
          for (const [capability, spec] of newer) {
            const asking = e2e().route('roll/edited', { limits: [requestLimit('all', 8)] }, spec);
            await e2e().apply(asking);
            const refused = { status: 'False', reason: 'Rejected' } as const;
            const object = await e2e().untilCondition(refOf(asking), 'Programmed', refused);
            expect(conditionOf(object, 'Programmed')?.message).toContain(capability);
            expect(await e2e().send('roll/edited', 4)).toEqual({ 429: 4 });
          }
        },
      );

      test('then limiter by limiter: old and new share the buckets, and no call fails', async () => {
        for (const id of ['limiter1', 'limiter2']) {
          await e2e().startLimiter({ id, flags: PATIENT });
          await e2e().untilReady(refOf(route('kept', 100)));
          // Over both of them, whichever release each is.
          expect(await e2e().send('roll/kept', 20)).toEqual({ 200: 20 });
        }
        expect(await e2e().send('roll/kept', 40)).toEqual({ 200: 20, 429: 20 });
      });
    });

    describeEndToEnd('limiters first', { limiters: 0, operatorProgram: () => previous }, (e2e) => {
      const route = (name: string, maxTokens: number): Manifest =>
        e2e().route(`roll/${name}`, { limits: [requestLimit('all', maxTokens)] });

      beforeAll(async () => {
        await e2e().makeNamespace('roll');
        await startLimiters(e2e());
      });

      test('new limiters serve under the old operator, edits included', async () => {
        await e2e().enforce(route('plain', 5));
        expect(await e2e().send('roll/plain', 10)).toEqual({ 200: 5, 429: 5 });
        await e2e().enforce(route('plain', 9));
        expect(await e2e().send('roll/plain', 10)).toEqual({ 200: 4, 429: 6 });
      });

      test('and go on when it is replaced by the new one', async () => {
        await e2e().weir.startOperator();
        await e2e().untilReady(refOf(route('plain', 9)));
        expect(await e2e().send('roll/plain', 4)).toEqual({ 429: 4 });
      });

      test('and when that is rolled back', async () => {
        await e2e().weir.startOperator({ program: previous });
        await e2e().enforce(route('plain', 12));
        expect(await e2e().send('roll/plain', 10)).toEqual({ 200: 3, 429: 7 });
      });
    });

    async function startLimiters(e2e: EndToEnd, program?: string): Promise<void> {
      for (const id of ['limiter1', 'limiter2']) {
        await e2e.startLimiter({ id, flags: PATIENT, ...(program === undefined ? {} : { program }) });
      }
    }
  });
}
