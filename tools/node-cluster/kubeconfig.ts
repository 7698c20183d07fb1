// Stage: access to a cluster. Input: an address, its authority and credentials. Output: a kubeconfig (JSON, which is
// YAML too).

export interface Access {
  readonly server: string;
  /** PEM of the authority that signed the server's certificate. */
  readonly authority: string;
  readonly user: string;
  readonly credentials: { readonly certificate: string; readonly key: string } | { readonly token: string };
  /** Namespace of commands that name none. */
  readonly namespace?: string;
}

export function formatKubeconfig({ server, authority, user, credentials, namespace = 'default' }: Access): string {
  const name = 'weir-test';
  const credentialFields =
    'token' in credentials
      ? { token: credentials.token }
      : {
          'client-certificate-data': base64(credentials.certificate),
          'client-key-data': base64(credentials.key),
        };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    clusters: [{ name, cluster: { server, 'certificate-authority-data': base64(authority) } }],
    users: [{ name: user, user: credentialFields }],
    contexts: [{ name, context: { cluster: name, user, namespace } }],
  };
  return JSON.stringify(config, null, 2) + '\n';
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
