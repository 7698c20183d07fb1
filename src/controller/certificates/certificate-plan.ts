// Controller: when certificates are renewed. Input: what is kept, what is known of its distribution, the time,
// lifetimes. Output: the one step that is due, and the state after it. Pure: a parameter makes keys.

/** How long things live and travel, ms. */
export interface RotationPolicy {
  readonly leafLifeMs: number;
  readonly caLifeMs: number;
  /**
   * How long a CA may take from the ConfigMap to the last limiter: it signs nothing before it was handed out for this
   * long.
   */
  readonly propagationMs: number;
}

interface Ending {
  readonly endsMs: number;
}

/** All that is kept. Callers are to trust `ca`, `next` and `old`; only `leaf` is served, and `ca` signed it. */
export interface RotationState<Ca extends Ending, Leaf extends Ending> {
  readonly ca: Ca;
  readonly leaf: Leaf;
  /** When the last of all leaves that `ca` signed ends. */
  readonly leavesEndMs: number;
  /** The CA that will sign next; `distributedMs`: since when everyone who must trust it is handed it. */
  readonly next?: { readonly ca: Ca; readonly distributedMs?: number };
  /** CAs that sign no more, until their last leaf has ended. */
  readonly old: readonly { readonly ca: Ca; readonly untilMs: number }[];
}

export interface Situation {
  readonly nowMs: number;
  /** Whether every ConfigMap and webhook configuration holds exactly the bundle of the state. */
  readonly isDistributed: boolean;
  /** What a person asked for. */
  readonly request?: 'leaf' | 'ca' | undefined;
  /** A name that the leaf lacks. */
  readonly missingName?: string | undefined;
}

export type StepKind = 'make' | 'forget' | 'announce' | 'distributed' | 'promote' | 'renew' | 'nothing-to-do';

export interface Step {
  readonly kind: StepKind;
  /** true: this is what was asked for; the request must be removed. */
  readonly settles: boolean;
}

export interface Maker<Ca, Leaf> {
  makeCa(endsMs: number): Promise<Ca>;
  makeLeaf(ca: Ca, endsMs: number): Promise<Leaf>;
}

export const DEFAULT_POLICY: RotationPolicy = {
  leafLifeMs: 90 * 86_400_000,
  caLifeMs: 3_650 * 86_400_000,
  propagationMs: 600_000,
};

const SHORTEST_LEAF_MS = 10_000;

/** Why certificates cannot be kept valid under these lifetimes; undefined when they can. */
export function complaintAboutPolicy({ leafLifeMs, caLifeMs, propagationMs }: RotationPolicy): string | undefined {
  if (leafLifeMs < SHORTEST_LEAF_MS) return 'the lifetime of a certificate must be at least 10s';
  if (caLifeMs < 3 * (leafLifeMs + propagationMs)) {
    return 'the lifetime of a CA must be at least three times that of a certificate and the propagation time together';
  }
  return undefined;
}

/**
 * The one step that is due now. A CA is handed out at two thirds of its forerunner's life, a leaf is renewed at two
 * thirds of its own.
 */
export function planRotation<Ca extends Ending, Leaf extends Ending>(
  state: RotationState<Ca, Leaf> | undefined,
  situation: Situation,
  policy: RotationPolicy,
): Step | undefined {
  if (state === undefined) return { kind: 'make', settles: true };
  const { nowMs, request } = situation;
  if (state.old.some(({ untilMs }) => untilMs <= nowMs)) return { kind: 'forget', settles: false };
  return (
    planCa(state, situation, policy) ??
    (isLeafDue(state, situation, policy) ? { kind: 'renew', settles: request === 'leaf' } : undefined)
  );
}

/** The state after a step. */
export async function takeStep<Ca extends Ending, Leaf extends Ending>(
  state: RotationState<Ca, Leaf> | undefined,
  { kind }: Step,
  { nowMs }: Situation,
  policy: RotationPolicy,
  maker: Maker<Ca, Leaf>,
): Promise<RotationState<Ca, Leaf>> {
  const sign = async (ca: Ca): Promise<{ ca: Ca; leaf: Leaf; leavesEndMs: number }> => {
    const leaf = await maker.makeLeaf(ca, Math.min(nowMs + policy.leafLifeMs, ca.endsMs));
    return { ca, leaf, leavesEndMs: leaf.endsMs };
  };
  if (kind === 'make' || state === undefined) {
    return { ...(await sign(await maker.makeCa(nowMs + policy.caLifeMs))), old: [] };
  }
  const { ca, next, old, leavesEndMs } = state;
  if (kind === 'forget') return { ...state, old: old.filter(({ untilMs }) => untilMs > nowMs) };
  if (kind === 'announce') return { ...state, next: { ca: await maker.makeCa(nowMs + policy.caLifeMs) } };
  if (kind === 'distributed' && next !== undefined) return { ...state, next: { ...next, distributedMs: nowMs } };
  if (kind === 'promote' && next !== undefined) {
    return { ...(await sign(next.ca)), old: [...old, { ca, untilMs: leavesEndMs }] };
  }
  if (kind !== 'renew') return state;
  const signed = await sign(ca);
  return { ...state, ...signed, leavesEndMs: Math.max(leavesEndMs, signed.leavesEndMs) };
}

function planCa<Ca extends Ending, Leaf extends Ending>(
  state: RotationState<Ca, Leaf>,
  situation: Situation,
  policy: RotationPolicy,
): Step | undefined {
  const { nowMs, isDistributed, request } = situation;
  const { ca, next } = state;
  if (next === undefined) {
    const isDue = request === 'ca' || ca.endsMs - nowMs <= policy.caLifeMs / 3;
    return isDue ? { kind: 'announce', settles: request === 'ca' } : undefined;
  }
  if (next.distributedMs === undefined && isDistributed) return { kind: 'distributed', settles: request === 'ca' };
  const isKnown = next.distributedMs !== undefined && nowMs >= next.distributedMs + policy.propagationMs;
  if (isKnown || isAtItsEnd(state, situation, policy)) return { kind: 'promote', settles: request !== undefined };
  return request === 'ca' ? { kind: 'nothing-to-do', settles: true } : undefined;
}

/**
 * Neither leaf nor CA live long enough to wait for the last namespace any more: those who were reached must not
 * suffer.
 */
function isAtItsEnd<Ca extends Ending, Leaf extends Ending>(
  { ca, leaf }: RotationState<Ca, Leaf>,
  { nowMs }: Situation,
  { leafLifeMs }: RotationPolicy,
): boolean {
  return Math.max(ca.endsMs, leaf.endsMs) - nowMs <= leafLifeMs / 10;
}

function isLeafDue<Ca extends Ending, Leaf extends Ending>(
  { ca, leaf }: RotationState<Ca, Leaf>,
  { nowMs, request, missingName }: Situation,
  { leafLifeMs }: RotationPolicy,
): boolean {
  if (request === 'leaf' || missingName !== undefined) return true;
  // A leaf ends with its CA at the latest: one that would end no later is not worth making.
  const gainMs = Math.min(nowMs + leafLifeMs, ca.endsMs) - leaf.endsMs;
  return leaf.endsMs - nowMs <= leafLifeMs / 3 && gainMs >= leafLifeMs / 6;
}
