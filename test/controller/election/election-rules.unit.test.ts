// The rules of leader election, by a model of the API server and of processes whose clocks run unevenly, that pause,
// and whose requests are late.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  accepted,
  FOLLOWING,
  nextMove,
  observe,
  released,
  timingProblem,
  type ElectionState,
} from '../../../src/controller/election/election-rules.ts';
import type { Lease, LeaseSpec } from '../../../src/controller/kube/kube-types.ts';

const TIMING = { leaseDurationMs: 10_000, renewDeadlineMs: 7_000, retryPeriodMs: 2_000 };
const lease = (spec: LeaseSpec, resourceVersion = '1'): Lease => ({
  metadata: { name: 'l', uid: 'u', resourceVersion },
  spec,
});
const move = (state: ElectionState, nowMs: number): ReturnType<typeof nextMove> =>
  nextMove(state, 'me', TIMING, nowMs, `time ${nowMs}`);

describe('leader election', () => {
  test('a Lease of another is taken when it has not changed for its duration, by our own clock', () => {
    const theirs = lease({
      holderIdentity: 'other',
      leaseDurationSeconds: 10,
      renewTime: '1970-01-01T00:00:00Z',
      leaseTransitions: 3,
    });
    let state = observe(FOLLOWING, theirs, 500);
    expect(move(state, 10_499)).toEqual({ kind: 'wait', forMs: 1 });
    state = observe(state, { ...theirs, metadata: { ...theirs.metadata, resourceVersion: '2' } }, 9_000);
    expect(move(state, 10_500)).toMatchObject({
      kind: 'write',
      isNew: true,
      spec: { holderIdentity: 'me', leaseTransitions: 4 },
    });
    expect(move(observe(state, lease({ ...theirs.spec, renewTime: 'later' }), 10_000), 10_500)).toMatchObject({
      kind: 'wait',
    });
  });

  test('one that was given back is taken at once; one that was deleted is waited for by those who saw it', () => {
    const mine = lease({ holderIdentity: 'other', leaseTransitions: 1 });
    expect(move(observe(FOLLOWING, lease(released(mine, 'now')), 0), 0)).toMatchObject({
      kind: 'write',
      spec: { leaseTransitions: 2 },
    });
    expect(move(FOLLOWING, 0)).toMatchObject({ kind: 'write', isNew: true, spec: { leaseTransitions: 0 } });
    const deleted = observe(observe(FOLLOWING, mine, 0), undefined, 1000);
    expect(move(deleted, 2000).kind).toBe('wait');
    expect(move(deleted, 11_000).kind).toBe('write');
  });

  test('times that leave no room are refused by name', () => {
    expect(timingProblem(TIMING)).toBeUndefined();
    expect(timingProblem({ ...TIMING, renewDeadlineMs: 9_500 })).toContain('renew deadline');
    expect(timingProblem({ ...TIMING, retryPeriodMs: 4_000 })).toContain('retry period');
    expect(timingProblem({ ...TIMING, leaseDurationMs: 1_500 })).toContain('whole seconds');
  });

  test('never two at once, whatever is late or stops, as long as clocks run within 15 % of each other', () => {
    const step = fc.record({
      who: fc.integer({ min: 0, max: 2 }),
      restMs: fc.integer({ min: 0, max: 3_000 }),
      toServerMs: fc.integer({ min: 0, max: 3_000 }),
      backMs: fc.integer({ min: 0, max: 3_000 }),
      isRead: fc.boolean(),
      isAnswerLost: fc.integer({ min: 0, max: 9 }).map((chance) => chance === 0),
    });
    const rates = fc.tuple(...[0, 1, 2].map(() => fc.double({ min: 0.93, max: 1.07, noNaN: true })));
    let terms = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 60, maxLength: 120 }), rates, (steps, rate) => {
        const model = new Model(rate);
        for (const each of steps) model.run(each);
        expect(model.overlaps()).toEqual([]);
        terms += model.holders.size;
      }),
      { numRuns: 300 },
    );
    expect(terms).toBeGreaterThan(300);
  });
});

interface Step {
  readonly who: number;
  readonly restMs: number;
  readonly toServerMs: number;
  readonly backMs: number;
  /** It only looks; what it does later goes by that. */
  readonly isRead: boolean;
  readonly isAnswerLost: boolean;
}

/** Real time only goes on; a process that is not chosen stands still, as a stopped one does. */
class Model {
  readonly holders = new Set<number>();
  readonly #rates: readonly number[];
  readonly #states: ElectionState[] = [FOLLOWING, FOLLOWING, FOLLOWING];
  readonly #periods: { who: number; fromMs: number; untilMs: number }[] = [];
  #nowMs = 0;
  #lease: Lease | undefined;
  #version = 0;

  constructor(rates: readonly number[]) {
    this.#rates = rates;
  }

  run({ who, restMs, toServerMs, backMs, isRead, isAnswerLost }: Step): void {
    this.#nowMs += restMs;
    const state = this.#states[who] ?? FOLLOWING;
    if (isRead) {
      this.#states[who] = observe(state, this.#lease, this.#local(who));
      return;
    }
    const next = nextMove(state, `p${who}`, TIMING, this.#local(who), String(this.#nowMs));
    if (next.kind === 'wait') return;
    const sentMs = this.#local(who);
    this.#nowMs += toServerMs;
    if (this.#lease?.metadata.resourceVersion !== state.seen?.metadata.resourceVersion) return;
    this.#version += 1;
    this.#lease = lease(next.spec, String(this.#version));
    const arrivedMs = (this.#nowMs += backMs);
    if (isAnswerLost) return;
    const held = accepted(state, this.#lease, sentMs, TIMING);
    this.#states[who] = held;
    this.holders.add(who);
    this.#periods.push({ who, fromMs: arrivedMs, untilMs: held.deadlineMs / (this.#rates[who] ?? 1) });
  }

  overlaps(): unknown[] {
    return this.#periods.flatMap((one) =>
      this.#periods.filter(
        (other) => other.who !== one.who && one.fromMs < other.untilMs && other.fromMs < one.untilMs,
      ),
    );
  }

  #local(who: number): number {
    return this.#nowMs * (this.#rates[who] ?? 1);
  }
}
