// Certificates of a push port on loopback, made once per test file.
import { createAuthority, issueServerCertificate, type KeyPairPem } from '../../tools/node-cluster/certificates.ts';

export interface PushCertificates {
  /** PEM of the authority: what a limiter is given. */
  readonly ca: string;
  readonly tls: { readonly cert: string; readonly key: string };
}

/** A certificate for `hosts` from an authority of its own. */
export async function makePushCertificates(hosts = ['127.0.0.1', 'localhost']): Promise<PushCertificates> {
  const authority = await createAuthority('weir-test');
  return { ca: authority.certificate, tls: toTls(await issueServerCertificate(authority, 'weir-operator', hosts)) };
}

function toTls({ certificate, key }: KeyPairPem): { cert: string; key: string } {
  return { cert: certificate, key };
}
