// Tests are named by what they need: *.unit.test.ts nothing, *.process.test.ts processes of their own or V8's counters,
// *.redis.test.ts a Redis server, *.cluster.test.ts an API server, *.node.test.ts a cluster that runs pods, *.e2e.test.ts the
// built product and servers. `make help` names the target of each.
const base = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': '<rootDir>/scripts/strip-types.js' },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.run/'],
};

const project = (displayName, suffix) => ({
  ...base,
  displayName,
  testMatch: [`<rootDir>/{test,tools}/**/*.${suffix}.test.ts`],
});

/** @type {import('jest').Config} */
export default {
  maxWorkers: 2,
  testSequencer: '<rootDir>/scripts/test-order.js',
  // Jest takes this once for all projects; a test that waits for a condition has its own, shorter deadline.
  testTimeout: 120_000,
  projects: [
    project('unit', 'unit'),
    project('process', 'process'),
    project('redis', 'redis'),
    project('cluster', 'cluster'),
    { ...project('node', 'node'), globalTeardown: '<rootDir>/tools/node-cluster/node/after-tests.ts' },
    project('e2e', 'e2e'),
  ],
};
