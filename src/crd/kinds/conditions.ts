// CRD: `status` of both kinds: condition types and reasons, and the schema that the API server keeps the status to.
import { choice, integer, list, listMap, object, text } from '../schema.ts';
import type { Infer, Schema } from '../schema.ts';

/** Types of conditions. All but Degraded are good when True. */
export const CONDITION_TYPES = ['Accepted', 'ResolvedRefs', 'Programmed', 'Degraded', 'Ready'] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];

/** Reasons by type: `holds` when the good state is reached, the others when not. */
export const REASONS = {
  Accepted: { holds: 'Accepted', others: ['Invalid', 'NotSupported', 'RedisRequired', 'Conflicted'] },
  ResolvedRefs: {
    holds: 'ResolvedRefs',
    others: [
      'SecretNotFound',
      'SecretKeyMissing',
      'SecretNotPermitted',
      'SecretForbidden',
      'ServiceNotFound',
      'PortNotFound',
    ],
  },
  Programmed: {
    holds: 'Programmed',
    others: [
      'Pending',
      'NoLimiters',
      'NoMatchingPods',
      'PartiallyProgrammed',
      'UnlimitedPods',
      'LimiterBypassed',
      'Rejected',
      'NotWatched',
      'OperatorGone',
    ],
  },
  Degraded: {
    holds: 'Healthy',
    others: [
      'StoreUnreachable',
      'StoreEvicts',
      'UpstreamUnreachable',
      'LimiterBypassed',
      'UsageMissing',
      'UnclaimedRequests',
    ],
  },
} as const;

/** A reason of some type, the good one included. */
export type ReasonOf<T extends keyof typeof REASONS> =
  (typeof REASONS)[T]['holds'] | (typeof REASONS)[T]['others'][number];
export type AcceptedReason = ReasonOf<'Accepted'>;
export type ResolvedRefsReason = ReasonOf<'ResolvedRefs'>;
export type ProgrammedReason = ReasonOf<'Programmed'>;
export type DegradedReason = ReasonOf<'Degraded'>;
/** Ready carries the reason of the first of Accepted, ResolvedRefs and Programmed that does not hold. */
export type ReadyReason = 'Ready' | AcceptedReason | ResolvedRefsReason | ProgrammedReason;

/** The longest message of a condition, in characters. */
export const MAX_CONDITION_MESSAGE = 32_768;

const generation = integer('Generation of the object that this is about.', 0);
const timestamp: Schema<string> = {
  type: 'string',
  format: 'date-time',
  maxLength: 64,
  description: 'When the status of the condition changed last.',
};

const condition = object(
  'One aspect of the state of the object.',
  {
    type: choice('Accepted, ResolvedRefs, Programmed, Degraded or Ready.', CONDITION_TYPES),
    status: choice('True, False or Unknown.', ['True', 'False', 'Unknown']),
    reason: text('Why, in one word.', { max: 1024, pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$' }),
    message: text('Why, for people.', { min: 0, max: MAX_CONDITION_MESSAGE }),
    lastTransitionTime: timestamp,
  },
  { observedGeneration: generation },
);
/** One condition as it is written into the status. */
export type Condition = Infer<typeof condition>;

const limitStatus = object(
  'What became of one limit.',
  { name: text('Name of the limit; tools/<tool>/perUser and the like for the short form.', { max: 256 }) },
  {
    state: text('What is done with it, in one word.', { max: 64 }),
    message: text('More about it, for people.', { min: 0, max: 1024 }),
  },
);
/** What became of one limit. */
export type LimitStatus = Infer<typeof limitStatus>;

const count = (description: string) => integer(description, 0, 1_000_000);

const limiters = object(
  'The limiters that enforce this object.',
  {},
  {
    desired: count('Limiters that should have the config.'),
    synced: count('Connected limiters that acknowledged exactly configVersion.'),
    rejected: count('Limiters that refused it.'),
    summary: text('synced/desired, like 3/3.', { max: 32 }),
  },
);

/** `status` of both kinds. */
export const status = object(
  'What is in force. Written by the operator.',
  {},
  {
    observedGeneration: generation,
    configVersion: text('Hash of the config that limiters have to acknowledge.', { max: 128 }),
    limitCount: count('Number of limits.'),
    toolCount: count('Number of tools with limits of their own.'),
    limiters,
    // 32 limits, and the short form of an MCPServer: 2 for the server, 2 for each of 128 tools
    limits: listMap('What became of each limit.', 'name', limitStatus, { max: 290 }),
    unlimitedPods: object(
      'Pods that are selected but carry no limiter; also while they end, until they are gone.',
      {},
      {
        count: count('How many.'),
        names: list('Names of some of them.', text('Name of a pod.', { max: 253 }), { max: 10 }),
      },
    ),
    unknownTools: list(
      'Tools that have limits and that the server never listed.',
      text('Name of a tool.', { max: 128 }),
      { max: 10 },
    ),
    conditions: listMap('Accepted, ResolvedRefs, Programmed, Degraded and Ready.', 'type', condition, { max: 16 }),
  },
);

/** `status` of both kinds. */
export type Status = Infer<typeof status>;
