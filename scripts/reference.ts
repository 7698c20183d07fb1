// Writes docs/reference: pages that are generated from the code, so that they cannot say something else. Run it with
// `npm run emit`; a test fails when a page is old.
import { mkdirSync, writeFileSync } from 'node:fs';
import { capabilitiesPage } from './reference/capabilities.ts';
import { errorsPage } from './reference/errors.ts';
import { flagsPage } from './reference/flags.ts';
import { helmValuesPage } from './reference/helm-values.ts';
import { kindsPage } from './reference/kinds.ts';
import { metricsPage } from './reference/metrics.ts';

export const REFERENCE = new URL('../docs/reference/', import.meta.url);

/** Every page by its file name. */
export async function referencePages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ['capabilities.md', capabilitiesPage()],
    ['errors.md', errorsPage()],
    ['flags.md', await flagsPage()],
    ['helm-values.md', helmValuesPage()],
    ['kinds.md', kindsPage()],
    ['metrics.md', metricsPage()],
  ]);
}

if (import.meta.main) {
  mkdirSync(REFERENCE, { recursive: true });
  for (const [name, text] of await referencePages()) writeFileSync(new URL(name, REFERENCE), text);
}
