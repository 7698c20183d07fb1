// Limiter, proxy: reads the request line. In: the request target and Host header as they came; out: the host, the path
// (not yet in normal form) and the query.

/** What a request line says. */
export interface RequestTarget {
  /** Lower case, without port; '' when the client sent none. */
  readonly host: string;
  /** The target and the Host header name different hosts: servers differ in which they go by. */
  readonly hasTwoHosts: boolean;
  /** As it came; "/" for an absolute target that has none. */
  readonly path: string;
  /** With its "?", as it came; '' when there is none. */
  readonly search: string;
}

const ABSOLUTE_FORM = /^https?:\/\/([^/?#]*)/i;

/** Reads a request target in origin, absolute or asterisk form. Fragments are dropped. */
export function readRequestTarget(url: string, hostHeader = ''): RequestTarget {
  const absolute = ABSOLUTE_FORM.exec(url);
  const authority = absolute?.[1];
  const local = absolute === null ? url : url.slice(absolute[0].length);
  const [withoutFragment = ''] = local.split('#', 1);
  const host = hostName(authority ?? hostHeader);
  const hasTwoHosts = hostHeader !== '' && host !== hostName(hostHeader);
  return { host, hasTwoHosts, ...pathAndSearch(withoutFragment) };
}

function pathAndSearch(local: string): Pick<RequestTarget, 'path' | 'search'> {
  const queryAt = local.indexOf('?');
  const path = queryAt < 0 ? local : local.slice(0, queryAt);
  return { path: path === '' ? '/' : path, search: queryAt < 0 ? '' : local.slice(queryAt) };
}

/** The host of an authority, lower case, without user info and port; IPv6 in its brackets. */
export function hostName(authority: string): string {
  const host = authority.slice(authority.lastIndexOf('@') + 1).toLowerCase();
  if (host.startsWith('[')) return host.slice(0, host.indexOf(']') + 1);
  const [name = ''] = host.split(':', 1);
  return name.endsWith('.') ? name.slice(0, -1) : name;
}
