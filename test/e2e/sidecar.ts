// End to end, sidecars: a pod object that no node runs, and a limiter that shows a token bound to it.
import { PATIENT, type EndToEnd } from './harness.ts';
import type { Limiter } from '../rig/stack/weir-stack.ts';

export interface SidecarOptions {
  readonly namespace: string;
  readonly pod: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Base URL of the server of its own pod. */
  readonly upstream: string;
  /** Beside those of {@link PATIENT}; later ones win. */
  readonly flags?: readonly string[];
}

const ACCOUNT = 'workload';
/** What the injector writes on the pods that it gave a limiter. */
const INJECTED = { 'weir.dev/injected': '0.1.0' };

/** Makes the pod with a limiter beside it; its name as a limiter is that of the pod. */
export async function startSidecar(e2e: EndToEnd, options: SidecarOptions): Promise<Limiter> {
  const { namespace, pod, upstream, flags = [] } = options;
  await makePod(e2e, options);
  return await e2e.weir.startLimiter({
    id: pod,
    flags: ['--mode', 'sidecar', '--upstream', upstream, ...PATIENT, ...flags],
    token: { account: { namespace, name: ACCOUNT }, pod },
  });
}

/** A pod as the API knows it, marked as one with a limiter. */
export async function makePod(
  e2e: EndToEnd,
  { namespace, pod, labels }: Pick<SidecarOptions, 'namespace' | 'pod' | 'labels'>,
): Promise<void> {
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: ACCOUNT, namespace } };
  const workload = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: pod, namespace, labels, annotations: INJECTED },
    spec: { serviceAccountName: ACCOUNT, containers: [{ name: 'server', image: 'none' }] },
  };
  await e2e.apply(account);
  await e2e.apply(workload);
}
