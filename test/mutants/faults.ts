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

export const FAULTS: readonly Fault[] = [
  {
    name: 'ack-assumed',
    file: 'src/controller/push-session.ts',
    find: 'this.#parts.acks.sent(name, version);',
    replace: 'this.#parts.acks.acked(name, version);',
    tests: ['test/controller/push-session.unit.test.ts'],
    caughtBy: 'trap 40: a config counts as in force when it was acknowledged, not when it was sent',
  },
  {
    name: 'nack-only-logged',
    file: 'src/controller/push-session.ts',
    find: 'acks.rejected(name, version, refusal);',
    replace: 'acks.acked(name, version);',
    tests: ['test/controller/push-session.unit.test.ts'],
    caughtBy: 'trap 41: a NACK rejects what it names',
  },
  {
    name: 'last-good-dropped',
    file: 'src/limiter/held-configs.ts',
    find: 'if (!outcome.accepted)',
    replace: 'if (!outcome.accepted) this.#held.delete(outcome.name);\n      if (!outcome.accepted)',
    tests: ['test/limiter/config-client.unit.test.ts'],
    caughtBy: 'the rest of the response is in force, the last good version too',
  },
  {
    name: 'snapshot-resent-whole',
    file: 'src/controller/push-session.ts',
    find: 'if (this.#held.get(name) === version && !this.#isInFlight(name)) return undefined;',
    replace: '',
    tests: ['test/controller/push-session.unit.test.ts'],
    caughtBy: 'the first response has only what differs',
  },
];
