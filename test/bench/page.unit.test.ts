// docs/benchmarks.md is the page that bench/published makes.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { renderPage } from '../../bench/page.ts';

test('the benchmarks page and its chart are those of the published runs (make bench-page)', () => {
  const { page, chart } = renderPage();
  expect(readFileSync('docs/benchmarks.md', 'utf8')).toBe(page);
  expect(readFileSync('docs/images/benchmarks.svg', 'utf8')).toBe(chart);
});
