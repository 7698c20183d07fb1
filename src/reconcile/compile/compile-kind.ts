// Reconcile, compile: the table of what is compiled differently for each kind. Input: an object. Output: the routing of
// its limiter config, and the limits that fields other than `limits` stand for.
import type { LimitConfig, LimiterConfig, ObjectKind } from '../../contract/limiter-config.ts';
import type { SpecOf } from '../../crd/kinds/kinds.ts';
import type { ObjectOf } from '../../crd/types.ts';
import { compileShortForm } from './compile-limits.ts';
import { compileMcpRouting, compileModelRouting, type RoutingContext } from './compile-routing.ts';

interface KindCompiler<K extends ObjectKind> {
  readonly routing: (spec: SpecOf<K>, context: RoutingContext) => LimiterConfig['routing'];
  readonly shortForm: (spec: SpecOf<K>) => LimitConfig[];
}

const COMPILERS: { readonly [K in ObjectKind]: KindCompiler<K> } = {
  ModelRoute: { routing: compileModelRouting, shortForm: () => [] },
  MCPServer: {
    routing: compileMcpRouting,
    shortForm: ({ rateLimiting }) => (rateLimiting === undefined ? [] : compileShortForm(rateLimiting)),
  },
};

export function compileRouting<K extends ObjectKind>(
  { kind, spec }: ObjectOf<K>,
  context: RoutingContext,
): LimiterConfig['routing'] {
  return COMPILERS[kind].routing(spec, context);
}

/** They come before those of `limits`. */
export function compileShortForms<K extends ObjectKind>({ kind, spec }: ObjectOf<K>): LimitConfig[] {
  return COMPILERS[kind].shortForm(spec);
}
