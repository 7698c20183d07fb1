// The faults that `make mutants` seeds: each a way that a limiter or an operator can lie, and the test that must notice.

export interface Fault {
  readonly name: string;
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** Test files to run. */
  readonly tests: readonly string[];
  /** Part of the full name of the test that must turn red. */
  readonly caughtBy: string;
}

export const FAULTS: readonly Fault[] = [];
