// All faults that `make mutants` seeds: each a way that a limiter or an operator can lie.
import type { Fault } from './fault.ts';
import { LIMITER_FAULTS } from './limiter-faults.ts';
import { OPERATOR_FAULTS } from './operator-faults.ts';

export const FAULTS: readonly Fault[] = [...LIMITER_FAULTS, ...OPERATOR_FAULTS];
