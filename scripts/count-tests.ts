// Test summary: reads the JSON reports of all stages and prints one line, "N passed, N failed, N skipped"; skipped suites by name.
import { globSync, readFileSync } from 'node:fs';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly { readonly assertionResults: readonly { status: string; fullName: string }[] }[];
}

const [folder = '.', failedStages = '0'] = process.argv.slice(2);
const reports = globSync(`${folder}/*.json`).map((path) => JSON.parse(readFileSync(path, 'utf8')) as Report);
const sum = (count: (report: Report) => number): number => reports.reduce((total, report) => total + count(report), 0);

const skipped = reports.flatMap((report) =>
  report.testResults.flatMap((file) =>
    file.assertionResults.filter((one) => one.status === 'pending').map((one) => one.fullName),
  ),
);
for (const name of skipped) console.log(`skipped: ${name}`);

const counted = sum((report) => report.numFailedTests + report.numRuntimeErrorTestSuites);
// A stage without tests of its own (lint) counts as one failure.
const failed = Math.max(counted, Number(failedStages));
console.log(`${sum((report) => report.numPassedTests)} passed, ${failed} failed, ${skipped.length} skipped`);
