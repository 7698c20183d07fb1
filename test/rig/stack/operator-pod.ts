// Stack, an operator's pod. In: a name and a cluster without nodes; out: the pod, and a kubeconfig with a token that
// is bound to it, as an operator in that pod has.
import { join } from 'node:path';
import { readAuthority, writeWhole } from '../../../tools/node-cluster/cluster-folder.ts';
import type { ControlPlane } from '../../../tools/node-cluster/control-plane.ts';
import { formatKubeconfig } from '../../../tools/node-cluster/kubeconfig.ts';
import { OPERATOR_SUBJECT, type Kubectl } from './cluster-access.ts';

const NAMESPACE = 'weir-system';
const ACCOUNT = 'weir-operator';

/** The API server knows whoever uses it by the name of the pod. @returns the path of the kubeconfig */
export async function makeOperatorPod(
  plane: Pick<ControlPlane, 'folder' | 'server'>,
  kubectl: Kubectl,
  name: string,
): Promise<string> {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: NAMESPACE, labels: { app: 'weir-operator' } },
    spec: { serviceAccountName: ACCOUNT, containers: [{ name: 'operator', image: 'weir' }] },
  };
  await kubectl(['apply', '-f', '-'], { input: JSON.stringify(pod) });
  const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', name];
  const token = await kubectl(['create', 'token', ACCOUNT, '-n', NAMESPACE, '--duration', '24h', ...bound]);
  const { certificate: authority } = await readAuthority(plane.folder);
  const access = { server: plane.server, authority, user: OPERATOR_SUBJECT.user, credentials: { token: token.trim() } };
  const path = join(plane.folder, `kubeconfig-${name}`);
  await writeWhole(path, formatKubeconfig(access));
  return path;
}
