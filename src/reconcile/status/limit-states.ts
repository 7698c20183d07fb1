// Reconcile, status: the limits of an object -> one line each of what is done with them.
import { valuesAt } from '../../contract/capabilities.ts';
import type { LimitConfig } from '../../contract/limiter-config.ts';
import type { LimitStatus } from '../../crd/kinds/conditions.ts';
import { type Problem, cut } from '../problems.ts';
import { type LimitContext, describeLimit } from './limit-text.ts';

/**
 * Enforced and Shadow: in force at every limiter; Pending: not at every limiter yet; NotEnforced: the object is
 * refused; Unknown: no operator follows the object.
 */
export const LIMIT_STATES = ['Enforced', 'Shadow', 'Pending', 'NotEnforced', 'Unknown'] as const;
export type LimitState = (typeof LIMIT_STATES)[number];

const MAX_MESSAGE = 1024;
const MAX_NAME = 256;
/** As many as the schema of the status takes. */
const MOST_LIMITS = 290;
const RATE_LIMITING = 'spec.rateLimiting';
/** Fields of the short form, and the name of the limit that each stands for. */
const SHORT_FIELDS = [
  ['shared', 'shared'],
  ['global', 'shared'],
  ['perUser', 'perUser'],
] as const;

/** The limits that are in force, or will be when every limiter has acknowledged them. */
export function statesInForce(context: LimitContext, isProgrammed: boolean): LimitStatus[] {
  return context.limits.map((limit) => ({
    name: limit.name,
    state: (isProgrammed ? doneState(limit) : 'Pending') satisfies LimitState,
    message: cut(describeLimit(limit, context), MAX_MESSAGE),
  }));
}

function doneState(limit: LimitConfig): LimitState {
  return limit.enforcement === 'Shadow' ? 'Shadow' : 'Enforced';
}

/** The limits of a refused object, each with what is wrong with it. The spec may be anything. */
export function statesRefused(spec: unknown, problems: readonly Problem[]): LimitStatus[] {
  const unique = new Map([...shortForm({ spec }), ...listed({ spec })].map((limit) => [limit.name, limit]));
  return [...unique.values()]
    .filter(({ name }) => name.length > 0 && name.length <= MAX_NAME)
    .slice(0, MOST_LIMITS)
    .map(({ name, at }) => ({
      name,
      state: 'NotEnforced' satisfies LimitState,
      message: cut(ownProblems(at, problems) || 'the object is not accepted', MAX_MESSAGE),
    }));
}

interface PlacedLimit {
  readonly name: string;
  readonly at: string;
}

function listed(object: unknown): PlacedLimit[] {
  return valuesAt(object, `${RATE_LIMITING}.limits[].name`).flatMap(({ path, value }) =>
    typeof value === 'string' ? [{ name: value, at: path.slice(0, -'.name'.length) }] : [],
  );
}

/** The limits that the short form of an MCPServer stands for, under the names that they compile to. */
function shortForm(object: unknown): PlacedLimit[] {
  const tools = valuesAt(object, `${RATE_LIMITING}.tools[]`).flatMap(({ path, value }) => {
    const name = typeof value === 'object' && value !== null && 'name' in value ? value.name : undefined;
    return typeof name === 'string' ? [{ prefix: `tools/${name}/`, holder: value, at: path }] : [];
  });
  const server = valuesAt(object, RATE_LIMITING).map(({ path, value }) => ({ prefix: '', holder: value, at: path }));
  return [...server, ...tools].flatMap(({ prefix, holder, at }) =>
    SHORT_FIELDS.flatMap(([field, name]) =>
      valuesAt(holder, field).map(() => ({ name: `${prefix}${name}`, at: `${at}.${field}` })),
    ),
  );
}

function ownProblems(at: string, problems: readonly Problem[]): string {
  return problems
    .filter(({ path }) => path === at || path?.startsWith(`${at}.`) === true)
    .map(({ path, message }) => `${path ?? ''}: ${message}`)
    .join('; ');
}
