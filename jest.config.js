// Tests are named by what they need: *.unit.test.ts nothing, *.redis.test.ts a Redis server, *.cluster.test.ts an API
// server, *.e2e.test.ts the built product and both. `make help` names the target of each.
const base = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': '<rootDir>/scripts/strip-types.js' },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.run/'],
};

const project = (displayName, suffix, timeout) => ({
  ...base,
  displayName,
  testMatch: [`<rootDir>/test/**/*.${suffix}.test.ts`],
  testTimeout: timeout,
});

/** @type {import('jest').Config} */
export default {
  maxWorkers: 2,
  projects: [
    project('unit', 'unit', 10_000),
    project('redis', 'redis', 60_000),
    project('cluster', 'cluster', 120_000),
    project('e2e', 'e2e', 180_000),
  ],
};
