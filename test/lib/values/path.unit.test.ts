// The normal form of paths: spellings that servers take for one path are one, what they disagree on is refused.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { normalisePath, pathBelow, pathForms } from '../../../src/lib/values/path.ts';

describe('the normal form of a path', () => {
  test.each([
    ['/', '/'],
    ['/v1/chat/completions', '/v1/chat/completions'],
    ['//v1///chat', '/v1/chat'],
    ['/v1/./chat', '/v1/chat'],
    ['/v1/x/../chat', '/v1/chat'],
    ['/../../v1', '/v1'],
    ['/%2e%2e/v1', '/v1'],
    ['/a/%2E%2e/b', '/b'],
    ['/v1/chat/', '/v1/chat/'],
    ['/v1/chat//', '/v1/chat/'],
    ['/v1/chat/.', '/v1/chat/'],
    ['/v1/chat/..', '/v1/'],
    ['/..', '/'],
    ['/v1/models/iris%3Apredict', '/v1/models/iris:predict'],
    ['/v1%2Fchat', '/v1/chat'],
    ['/%76%31/chat', '/v1/chat'],
    ['/a%252e', '/a%252e'],
    ['/a b', '/a%20b'],
    ['/ü', '/%C3%BC'],
    ['/%c3%bc', '/%C3%BC'],
    ['/a;v=1/b', '/a;v=1/b'],
  ])('%s is %s', (raw, normal) => {
    expect(normalisePath(raw)).toBe(normal);
  });

  test.each([
    '',
    'v1',
    '*',
    '/a%',
    '/a%zz',
    '/a%2',
    '/a\\b',
    '/a%5Cb',
    '/a%00',
    '/a\n',
    '/..;/b',
    '/.;x=1/b',
    '/%2e%2e;/b',
  ])('%j is refused', (raw) => {
    expect(normalisePath(raw)).toBeUndefined();
  });

  test('is a fixed point, and holds no dot segments and no empty ones', () => {
    const piece = fc.constantFrom('/', '.', '..', '%2e', '%2F', 'a', 'b', '%25', ';', ':', 'ü', '%c3');
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const normal = normalisePath(`/${pieces.join('')}`);
        if (normal === undefined) return;
        expect(normalisePath(normal)).toBe(normal);
        expect(normal).toMatch(/^\//);
        expect(normal).not.toMatch(/\/\/|\/\.{1,2}(\/|$)/);
      }),
    );
  });

  test('both spellings of the end are one for matches', () => {
    expect(pathForms('/a')).toEqual(['/a', '/a/']);
    expect(pathForms('/a/')).toEqual(['/a', '/a/']);
    expect(pathForms('/')).toEqual(['/', '/']);
  });

  test('a prefix ends at a segment', () => {
    expect(pathBelow('/a/b', '/a/b')).toBe('/');
    expect(pathBelow('/a/b', '/a/b/')).toBe('/');
    expect(pathBelow('/a/b', '/a/b/c')).toBe('/c');
    expect(pathBelow('/a/b', '/a/bc')).toBeUndefined();
    expect(pathBelow('/', '/a')).toBe('/a');
  });
});
