// The rotation plan: at any time each leaf that a replica may still serve is signed by a CA that each caller may hold.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  complaintAboutPolicy,
  DEFAULT_POLICY,
  planRotation,
  takeStep,
  type RotationPolicy,
  type RotationState,
  type Situation,
} from '../../../src/controller/certificates/certificate-plan.ts';

interface FakeCa {
  readonly id: number;
  readonly endsMs: number;
}
interface FakeLeaf {
  readonly signer: FakeCa;
  readonly endsMs: number;
}
type State = RotationState<FakeCa, FakeLeaf>;

const POLICY: RotationPolicy = { leafLifeMs: 900, caLifeMs: 9_000, propagationMs: 100 };
const bundleOf = ({ ca, next, old }: State): FakeCa[] => [
  ca,
  ...(next ? [next.ca] : []),
  ...old.map((each) => each.ca),
];

function makeMaker(): {
  makeCa: (endsMs: number) => Promise<FakeCa>;
  makeLeaf: (ca: FakeCa, endsMs: number) => Promise<FakeLeaf>;
} {
  let made = 0;
  return {
    makeCa: (endsMs) => Promise.resolve({ id: (made += 1), endsMs }),
    makeLeaf: (signer, endsMs) => Promise.resolve({ signer, endsMs }),
  };
}

const maker = makeMaker();

async function settle(state: State | undefined, situation: Situation, policy = POLICY): Promise<State> {
  let next = state;
  for (let steps = 0; steps < 6; steps += 1) {
    const step = planRotation(next, { ...situation, ...(steps > 0 ? { request: undefined } : {}) }, policy);
    if (step === undefined) break;
    next = await takeStep(next, step, situation, policy, maker);
  }
  return next!;
}

const at = (nowMs: number, more: Partial<Situation> = {}): Situation => ({ nowMs, isDistributed: true, ...more });

describe('one step at a time', () => {
  test('nothing kept: a CA and a leaf are made, then nothing is due', async () => {
    const state = await settle(undefined, at(0));
    expect(state.leaf).toEqual({ signer: state.ca, endsMs: 900 });
    expect(planRotation(state, at(599), POLICY)).toBeUndefined();
  });

  test('a leaf is renewed at two thirds, when asked, and when it lacks a name', async () => {
    const state = await settle(undefined, at(0));
    expect(planRotation(state, at(600), POLICY)).toEqual({ kind: 'renew', settles: false });
    expect(planRotation(state, at(1, { request: 'leaf' }), POLICY)).toEqual({ kind: 'renew', settles: true });
    expect(planRotation(state, at(1, { missingName: 'a.svc' }), POLICY)?.kind).toBe('renew');
  });

  test('a CA is handed out first, signs after the propagation time, and its forerunner leaves with its last leaf', async () => {
    const first = await settle(undefined, at(0));
    const announced = await settle(first, at(10, { request: 'ca', isDistributed: false }));
    expect([announced.ca, announced.next?.distributedMs]).toEqual([first.ca, undefined]);
    expect(planRotation(announced, at(500, { isDistributed: false }), POLICY)).toBeUndefined();
    const handedOut = await settle(announced, at(510));
    expect(handedOut.next?.distributedMs).toBe(510);
    expect(planRotation(handedOut, at(609), POLICY)?.kind).toBe('renew');
    const promoted = await settle(handedOut, at(610));
    expect(promoted.ca).toEqual(announced.next?.ca);
    expect(promoted.leaf.signer).toEqual(promoted.ca);
    expect(promoted.old).toEqual([{ ca: first.ca, untilMs: 900 }]);
    expect((await settle(promoted, at(899))).old).toHaveLength(1);
    expect((await settle(promoted, at(900))).old).toHaveLength(0);
  });

  test('a request for a CA while one is under way changes nothing but the request', async () => {
    const announced = await settle(await settle(undefined, at(0)), at(1, { request: 'ca', isDistributed: false }));
    const again = planRotation(announced, at(2, { request: 'ca', isDistributed: false }), POLICY);
    expect(again).toEqual({ kind: 'nothing-to-do', settles: true });
  });

  test('a namespace that cannot be reached holds the new CA up, but not until everything has ended', async () => {
    let state = await settle(undefined, at(0));
    for (let nowMs = 100; nowMs < 8_900; nowMs += 100) {
      state = await settle(state, at(nowMs, { isDistributed: nowMs < 6_000 }));
    }
    expect(state.next).toBeDefined();
    expect(state.leaf.endsMs).toBe(9_000);
    state = await settle(state, at(8_950, { isDistributed: false }));
    expect(state.leaf.signer).toEqual(state.ca);
    expect(state.leaf.endsMs).toBeGreaterThan(9_000);
  });

  test('after years of silence all is made anew at once', async () => {
    const state = await settle(await settle(undefined, at(0)), at(100_000, { isDistributed: false }));
    expect(Math.min(state.ca.endsMs, state.leaf.endsMs)).toBeGreaterThan(100_000);
    expect(state.leaf.signer).toEqual(state.ca);
  });
});

describe('lifetimes', () => {
  test('that cannot be kept are refused', () => {
    expect(complaintAboutPolicy(DEFAULT_POLICY)).toBeUndefined();
    expect(complaintAboutPolicy({ leafLifeMs: 9_999, caLifeMs: 1e9, propagationMs: 1 })).toMatch(/at least 10s/);
    expect(complaintAboutPolicy({ leafLifeMs: 10_000, caLifeMs: 32_999, propagationMs: 1_000 })).toMatch(/three times/);
  });
});

interface Tick {
  readonly gapMs: number;
  readonly isReached: boolean;
  readonly request: 'leaf' | 'ca' | undefined;
}

/** Looks come at least every 40 ms; a distribution may take several of them. */
const ticks = fc.array(
  fc.record<Tick>({
    gapMs: fc.integer({ min: 1, max: 40 }),
    isReached: fc.boolean(),
    request: fc.constantFrom(undefined, undefined, undefined, undefined, 'leaf', 'ca'),
  }),
  { minLength: 50, maxLength: 700 },
);

/** The ConfigMap as it was written, and all leaves that were ever served: a replica may be as stale as it likes. */
class World {
  nowMs = 0;
  state: State | undefined;
  readonly leaves = new Set<FakeLeaf>();
  readonly written: { atMs: number; bundle: FakeCa[] }[] = [];

  async tick({ gapMs, isReached, request }: Tick, policy: RotationPolicy): Promise<void> {
    this.nowMs += gapMs;
    for (let steps = 0; steps < 4; steps += 1) {
      const situation = {
        nowMs: this.nowMs,
        isDistributed: this.#isDistributed(),
        request: steps === 0 ? request : undefined,
      };
      const step = planRotation(this.state, situation, policy);
      if (step === undefined) break;
      this.state = await takeStep(this.state, step, situation, policy, maker);
      this.leaves.add(this.state.leaf);
    }
    if (isReached && this.state !== undefined && !this.#isDistributed()) {
      this.written.push({ atMs: this.nowMs, bundle: bundleOf(this.state) });
    }
  }

  /** Every bundle that someone may hold who reads the ConfigMap at most `propagationMs` late. */
  heldBundles({ propagationMs }: RotationPolicy): FakeCa[][] {
    const sinceMs = this.nowMs - propagationMs;
    return this.written
      .filter((_one, index) => (this.written[index + 1]?.atMs ?? Infinity) > sinceMs)
      .map(({ bundle }) => bundle);
  }

  #isDistributed(): boolean {
    const ids = (bundle: FakeCa[]): string => bundle.map(({ id }) => id).join();
    const last = this.written.at(-1);
    return last !== undefined && this.state !== undefined && ids(last.bundle) === ids(bundleOf(this.state));
  }
}

test('no leaf that may be served fails against a bundle that may be held', async () => {
  await fc.assert(
    fc.asyncProperty(ticks, async (script) => {
      const world = new World();
      for (const tick of script) {
        await world.tick(tick, POLICY);
        const living = [...world.leaves].filter(({ endsMs }) => endsMs > world.nowMs);
        const held = world.heldBundles(POLICY).map((bundle) => new Set(bundle.map(({ id }) => id)));
        expect(world.state!.leaf.endsMs).toBeGreaterThan(world.nowMs);
        expect(living.filter(({ signer, endsMs }) => endsMs > signer.endsMs)).toEqual([]);
        expect(living.filter(({ signer }) => held.some((ids) => !ids.has(signer.id)))).toEqual([]);
      }
    }),
    { numRuns: 60 },
  );
});
