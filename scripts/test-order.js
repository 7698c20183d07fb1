// Jest's order of test files: by path, on every machine and in every run. By its own measure (what was slow or red
// last time, else the size of the file) a clean clone would run them in an order in which nobody had run them before.
import { createRequire } from 'node:module';

const { default: Sequencer } = createRequire(import.meta.url)('@jest/test-sequencer');

export default class ByPath extends Sequencer {
  /** @param {readonly import('@jest/test-result').Test[]} tests */
  sort(tests) {
    return tests.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }
}
