// End to end, two operators. In: the parts of a test; out: two operator processes, each with the token of a pod of
// its own, and what the API server wrote down of them.
import { readFile } from 'node:fs/promises';
import { freePorts } from '../../tools/node-cluster/ports.ts';
import { loopback } from '../../tools/node-cluster/servers.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import type { Server } from '../../tools/node-cluster/member-server.ts';
import { startStallingProxy, type StallingProxy } from '../contract/stalling-proxy.ts';
import { makeOperatorPod } from '../rig/stack/operator-pod.ts';
import type { EndToEnd } from './harness.ts';
import { call } from './traffic.ts';

export interface PairedOperator {
  /** Of the process and of the pod. */
  readonly name: string;
  readonly kubeconfig: string;
  readonly pushPort: number;
  readonly adminUrl: string;
  readonly server: Server;
  /** Between it and the API server. */
  readonly network: StallingProxy;
}

export interface LeaseSpec {
  readonly holderIdentity: string;
  readonly acquireTime: string;
  readonly leaseTransitions: number;
}

/** One answered request of an operator. */
export interface AuditedWrite {
  readonly pod: string;
  readonly verb: string;
  readonly resource: string;
  readonly code: number;
  /** When the API server had answered; wall-clock ms. */
  readonly atMs: number;
}

interface AuditEvent {
  readonly stage: string;
  readonly verb: string;
  readonly stageTimestamp: string;
  readonly user?: { readonly extra?: Readonly<Record<string, readonly string[]>> };
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
  readonly responseStatus?: { readonly code?: number };
}

const SYSTEM = 'weir-system';

export class OperatorPair {
  readonly operators: readonly PairedOperator[];
  readonly #e2e: EndToEnd;

  private constructor(e2e: EndToEnd, operators: readonly PairedOperator[]) {
    this.#e2e = e2e;
    this.operators = operators;
  }

  /** The one after the other, so that the first leads. */
  static async start(e2e: EndToEnd): Promise<OperatorPair> {
    const operators: PairedOperator[] = [];
    for (const name of ['operator-a', 'operator-b']) operators.push(await startOperator(e2e, name));
    return new OperatorPair(e2e, operators);
  }

  async lease(): Promise<LeaseSpec> {
    const text = await this.#e2e.cluster.mustKubectl(['get', 'lease', 'weir-operator', '-n', SYSTEM, '-o', 'json']);
    return (JSON.parse(text) as { spec: LeaseSpec }).spec;
  }

  /** Who holds the Lease, and the other. */
  async roles(): Promise<{ leader: PairedOperator; follower: PairedOperator }> {
    const { holderIdentity } = await this.lease();
    const leader = this.operators.find(({ name }) => holderIdentity.startsWith(`${name}_`));
    const follower = this.operators.find((operator) => operator !== leader);
    if (leader === undefined || follower === undefined) throw new Error(`held by "${holderIdentity}"`);
    return { leader, follower };
  }

  async untilLeads({ name }: PairedOperator, deadlineMs: number): Promise<LeaseSpec> {
    return await waitFor(
      `${name} to lead`,
      async () => {
        const lease = await this.lease();
        if (lease.holderIdentity.startsWith(`${name}_`)) return lease;
        throw new Error(JSON.stringify(lease));
      },
      { deadlineMs, everyMs: 100 },
    );
  }

  /** Pods that the Service for limiters would select. */
  async labelled(): Promise<string[]> {
    const labels = ['-l', 'weir.dev/leader=true', '-o', 'jsonpath={.items[*].metadata.name}'];
    const names = await this.#e2e.cluster.mustKubectl(['get', 'pods', '-n', SYSTEM, ...labels]);
    return names.split(' ').filter((name) => name !== '');
  }

  /** What operators wrote of statuses and last good forms. */
  async writes(): Promise<AuditedWrite[]> {
    const { auditLog = '' } = this.#e2e.cluster.plane;
    const lines = (await readFile(auditLog, 'utf8')).split('\n').filter((line) => line.includes('"ResponseComplete"'));
    return lines.flatMap((line) => writeOf(JSON.parse(line) as AuditEvent) ?? []);
  }
}

async function startOperator(e2e: EndToEnd, name: string): Promise<PairedOperator> {
  const { weir, cluster } = e2e;
  const [push, admin] = (await freePorts(2)) as [number, number];
  const [pushPort, adminPort] = name === 'operator-a' ? [weir.ports.push, weir.ports.operatorAdmin] : [push, admin];
  const { folder, server: apiServer } = cluster.plane;
  const network = await startStallingProxy(Number(new URL(apiServer).port));
  const behind = { folder, server: `https://${loopback}:${network.port}` };
  const kubeconfig = await makeOperatorPod(behind, cluster.mustKubectl, name);
  const flags = ['--leader-elect', '--own-namespace', SYSTEM, '--pod-name', name];
  const server = await weir.startOperator({ name, kubeconfig, pushPort, adminPort, flags });
  return { name, kubeconfig, pushPort, adminUrl: `http://${loopback}:${adminPort}`, server, network };
}

function writeOf(event: AuditEvent): AuditedWrite | undefined {
  const { verb, objectRef = {}, user, responseStatus, stageTimestamp } = event;
  const pod = user?.extra?.['authentication.kubernetes.io/pod-name']?.[0];
  const resource = [objectRef.resource, objectRef.subresource].filter((part) => part !== undefined).join('/');
  const isMeant = ['modelroutes/status', 'mcpservers/status', 'controllerrevisions'].includes(resource);
  if (pod === undefined || !isMeant || !['update', 'create', 'delete'].includes(verb)) return undefined;
  return { pod, verb, resource, code: responseStatus?.code ?? 0, atMs: Date.parse(stageTimestamp) };
}

/** What an operator says of itself. */
export async function isLeader({ adminUrl }: PairedOperator): Promise<boolean> {
  return /^weir_is_leader 1$/m.test((await call(`${adminUrl}/metrics`)).body);
}
