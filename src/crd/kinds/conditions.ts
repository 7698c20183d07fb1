// CRD: `status` of both kinds: condition types and reasons, and the schema that the API server keeps the status to.
import { choice, integer, list, listMap, object, text } from '../schema.ts';
import type { Infer, Schema } from '../schema.ts';

/** Types of conditions. True is good for all but Degraded. */
export const CONDITION_TYPES = ['Accepted', 'ResolvedRefs', 'Programmed', 'Degraded', 'Ready'] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];

/** Reasons by type: `holds` in the good state, the others otherwise. */
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

const generation = integer('Generation of the object that this describes.', 0);
const timestamp: Schema<string> = {
  type: 'string',
  format: 'date-time',
  maxLength: 64,
  description: 'When the status of the condition last changed.',
};

const condition = object(
  'One aspect of the state of the object.',
  {
    type: choice('Accepted, ResolvedRefs, Programmed, Degraded or Ready.', CONDITION_TYPES),
    status: choice('True, False or Unknown.', ['True', 'False', 'Unknown']),
    reason: text('The reason, in one word.', { max: 1024, pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$' }),
    message: text('The reason, for people.', { min: 0, max: MAX_CONDITION_MESSAGE }),
    lastTransitionTime: timestamp,
  },
  { observedGeneration: generation },
);
/** One condition as it is written into the status. */
export type Condition = Infer<typeof condition>;

const limitStatus = object(
  'The state of one limit.',
  {
    name: text('Name of the limit; for the short form shared, perUser, tools/<tool>/shared and tools/<tool>/perUser.', {
      max: 256,
    }),
  },
  {
    state: text('Enforced, Shadow, Pending or NotEnforced.', { max: 64 }),
    message: text('What the limit allows, or why it is not enforced.', { min: 0, max: 1024 }),
  },
);
/** The state of one limit. */
export type LimitStatus = Infer<typeof limitStatus>;

const count = (description: string) => integer(description, 0, 1_000_000);

const limiters = object(
  'The limiters that enforce this object.',
  {},
  {
    desired: count('Limiters that should have the config.'),
    synced: count('Connected limiters that acknowledged exactly configVersion.'),
    rejected: count('Limiters that rejected it.'),
    summary: text('synced/desired, for example 3/3.', { max: 32 }),
  },
);

/** `status` of both kinds. */
export const status = object(
  'The observed state. Written by the operator.',
  {},
  {
    observedGeneration: generation,
    configVersion: text('Hash of the config that limiters must acknowledge.', { max: 128 }),
    limitCount: count('Number of limits.'),
    toolCount: count('Number of tools with limits of their own.'),
    limiters,
    // 32 limits, and the short form of an MCPServer: 2 for the server, 2 for each of 128 tools
    limits: listMap('The state of each limit.', 'name', limitStatus, { max: 290 }),
    unlimitedPods: object(
      'Selected pods without a limiter, including terminating ones until they are gone.',
      {},
      {
        count: count('Number of pods.'),
        names: list('Names of up to ten of them.', text('Name of a pod.', { max: 253 }), { max: 10 }),
      },
    ),
    unknownTools: list('Tools with limits that the server never listed.', text('Name of a tool.', { max: 128 }), {
      max: 10,
    }),
    conditions: listMap('Accepted, ResolvedRefs, Programmed, Degraded and Ready.', 'type', condition, { max: 16 }),
  },
);

/** `status` of both kinds. */
export type Status = Infer<typeof status>;
