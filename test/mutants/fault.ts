// One fault that `make mutants` seeds, and the test that notices it.
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
