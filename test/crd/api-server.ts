// Tests: asks a real API server for its verdict on a manifest (dry run, strict); in: a kubeconfig, out: its findings.
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { parse } from 'yaml';

/** What the API server said of a manifest. */
export interface ServerVerdict {
  readonly code: number;
  readonly message: string;
  readonly causes: readonly ServerCause[];
  /** The object with defaults applied and unknown fields pruned, when it was accepted. */
  readonly object?: unknown;
}

export interface ServerCause {
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

interface Kubeconfig {
  readonly clusters: readonly { readonly cluster: { server: string; 'certificate-authority-data': string } }[];
  readonly users: readonly {
    readonly user: { 'client-certificate-data'?: string; 'client-key-data'?: string; token?: string };
  }[];
}

interface Answer {
  readonly kind?: string;
  readonly message?: string;
  readonly details?: { readonly causes?: readonly ServerCause[] };
}

/** A client of one API server that creates objects without keeping them. */
export class ApiServer {
  readonly #server: URL;
  readonly #agent: Agent;
  readonly #headers: Record<string, string>;

  constructor(kubeconfig: string) {
    const { clusters, users } = parse(readFileSync(kubeconfig, 'utf8')) as Kubeconfig;
    const { cluster } = clusters[0]!;
    const { user } = users[0]!;
    const decode = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text, 'base64'));
    this.#server = new URL(cluster.server);
    this.#headers = user.token === undefined ? {} : { Authorization: `Bearer ${user.token}` };
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 4,
      ca: decode(cluster['certificate-authority-data']),
      cert: decode(user['client-certificate-data']),
      key: decode(user['client-key-data']),
    });
  }

  /** Creates the object of a YAML or JSON text as a dry run with strict field validation. */
  async dryRun(plural: string, manifest: string, type = 'application/yaml'): Promise<ServerVerdict> {
    const path = `/apis/weir.dev/v1alpha1/namespaces/default/${plural}?dryRun=All&fieldValidation=Strict`;
    const { code, text } = await this.#send('POST', path, manifest, type);
    const answer = JSON.parse(text) as Answer;
    if (code < 300) return { code, message: '', causes: [], object: answer };
    return { code, message: answer.message ?? text, causes: answer.details?.causes ?? [] };
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(method: string, path: string, body: string, type: string): Promise<{ code: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = { ...this.#headers, 'Content-Type': type, Accept: 'application/json' };
      const outgoing = request(new URL(path, this.#server), { method, agent: this.#agent, headers }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          resolve({ code: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
        });
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}
