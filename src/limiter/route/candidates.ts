// Limiter, route stage: where objects that could serve a request are looked up. In: its host and path; out: the hosts
// and path prefixes to ask for, the most specific first.

/** The host itself, its wildcards from the longest, and '' for objects that take every host. */
export function hostCandidates(host: string, mostLabels: number): readonly string[] {
  const name = host.endsWith('.') ? host.slice(0, -1) : host;
  if (name === '') return [''];
  const labels = name.split('.');
  // No longer than any object's: a host of a thousand labels costs as much as one of five.
  const known = labels.slice(1).slice(-Math.max(0, mostLabels - 1) || labels.length);
  const wildcards = known.map((_label, index) => `*.${known.slice(index).join('.')}`);
  return [name, ...wildcards, ''];
}

/** `/a/b/c` -> /a/b/c, /a/b, /a, / (no deeper than any object's prefix). */
export function prefixCandidates(path: string, mostSegments: number): readonly string[] {
  const segments = path.split('/', mostSegments + 1).filter((segment) => segment !== '');
  const prefixes = ['/'];
  segments.reduce((prefix, segment) => {
    prefixes.push(`${prefix}/${segment}`);
    return `${prefix}/${segment}`;
  }, '');
  return prefixes.reverse();
}

/** Segments of a path prefix: `/a/b` has 2. */
export function segmentCount(prefix: string): number {
  return prefix.split('/').filter((segment) => segment !== '').length;
}
