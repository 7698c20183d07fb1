// Test summary. In: the JSON reports of all stages; out: the tests that were skipped or failed, by name, how to run
// each failed one alone, and last one line "N passed, N failed, N skipped".
import { globSync, readFileSync } from 'node:fs';
import { basename, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly File[];
}

interface File {
  readonly name: string;
  readonly status: string;
  readonly message: string;
  readonly assertionResults: readonly {
    readonly status: string;
    readonly fullName: string;
    readonly failureMessages?: readonly string[];
  }[];
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

// Named again here: the end of a long log is what one sees first.
for (const { name, status, message, assertionResults } of reports.flatMap((report) => report.testResults)) {
  const failures = assertionResults.filter((one) => one.status === 'failed');
  for (const { fullName, failureMessages } of failures)
    tellFailure(`${basename(name)}: ${fullName}`, name, failureMessages?.[0]);
  if (status === 'failed' && failures.length === 0) tellFailure(basename(name), name, message);
}

const counted = sum((report) => report.numFailedTests + report.numRuntimeErrorTestSuites);
// A stage without tests of its own (lint) counts as one failure.
const failed = Math.max(counted, Number(failedStages));
console.log(`${sum((report) => report.numPassedTests)} passed, ${failed} failed, ${skipped.length} skipped`);

function tellFailure(what: string, file: string, message = ''): void {
  const lines = stripVTControlCharacters(message)
    .split('\n')
    .filter((line) => line.trim() !== '');
  const told = [`failed: ${what}`, ...lines.slice(0, 8).map((line) => `    ${line.trimEnd()}`)];
  console.log([...told, `    run it alone: ${commandFor(file)}`].join('\n'));
}

/** The file's place below the project, also of one that ran in a copy of it. */
function commandFor(file: string): string {
  const project = /\.(\w+)\.test\.ts$/.exec(file)?.[1] ?? 'unit';
  const path = relative(process.cwd(), file).replace(/^.*?(?=(?:test|tools)\/)/, '');
  return project === 'e2e' ? `make e2e ARGS=${path}` : `make test-${project} ARGS=${path}`;
}
