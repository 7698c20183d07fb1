// Limiter, front: the address of the pod's own server for a wire. In: the URL of --upstream; out: host and port, or
// undefined when plain bytes mean something else there (TLS, a path that comes before every other).

/** Where a client would have connected to without the sidecar. */
export function ownServerOf(url: string | undefined): { readonly host: string; readonly port: number } | undefined {
  if (url === undefined) return undefined;
  const { protocol, hostname, port, pathname } = new URL(url);
  if (protocol !== 'http:' || pathname !== '/') return undefined;
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port === '' ? 80 : Number(port) };
}
