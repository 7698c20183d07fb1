// The version of the release: every place that names it names the same.
import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { namedVersions, PLACES } from '../../scripts/release-version.ts';

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

describe('the version of the release', () => {
  test.each(PLACES.map((place) => [place.file, place] as const))('is the one of package.json in %s', (_file, place) => {
    expect(new Set(namedVersions(place))).toEqual(new Set([version]));
  });

  test('has a section in the changelog, or changes wait for it', () => {
    expect(readFileSync('CHANGELOG.md', 'utf8')).toMatch(
      new RegExp(`^## \\[(${RegExp.escape(version)}|Unreleased)\\]`, 'm'),
    );
  });
});
