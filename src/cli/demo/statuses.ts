// CLI, demo, statuses: what the operator says of each object, read from its /status page.

export interface DemoStatus {
  readonly ready: boolean;
  /** Ready, or refused for a reason that does not pass by waiting. */
  readonly settled: boolean;
  /** Some config is in effect: the object's own, or its last good one. */
  readonly inForce: boolean;
  readonly reason: string;
  readonly message: string;
  readonly version: string;
  /** `1/1` */
  readonly limiters: string;
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

interface StatusPage {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly status?: {
    readonly configVersion?: string;
    readonly limiters?: { readonly summary: string };
    readonly conditions?: readonly Condition[];
  };
}

/** Every object by `<kind>/<namespace>/<name>`. */
export async function readStatuses(operatorAdmin: string): Promise<Map<string, DemoStatus>> {
  const response = await fetch(`${operatorAdmin}/status`);
  const { objects } = (await response.json()) as { objects: readonly StatusPage[] };
  return new Map(objects.map((page) => [`${page.kind}/${page.namespace}/${page.name}`, statusOf(page)]));
}

const UNKNOWN: Condition = { type: 'Ready', status: 'Unknown', reason: 'Unknown', message: 'no status yet' };

const PASSING = new Set(['Unknown', 'Pending', 'NoLimiters', 'PartiallyProgrammed']);

function statusOf({ status = {} }: StatusPage): DemoStatus {
  const { configVersion: version = '', limiters = { summary: '0/0' }, conditions = [] } = status;
  const ready = conditions.find((condition) => condition.type === 'Ready') ?? UNKNOWN;
  const isReady = ready.status === 'True';
  return {
    ready: isReady,
    settled: isReady || !PASSING.has(ready.reason),
    inForce: version !== '',
    reason: ready.reason,
    message: isReady ? '' : ready.message,
    version,
    limiters: limiters.summary,
  };
}

/** The version of every resource that the limiter runs, by `<kind>/<namespace>/<name>`. */
export async function readVersions(limiterAdmin: string): Promise<Map<string, string>> {
  const response = await fetch(`${limiterAdmin}/config_dump`);
  const { versions } = (await response.json()) as { versions: Record<string, string> };
  return new Map(Object.entries(versions));
}

/** What is wrong with the manifests, one line each: file, line, path and message. */
export async function readProblems(operatorAdmin: string): Promise<string[]> {
  const response = await fetch(`${operatorAdmin}/status`);
  const { problems } = (await response.json()) as {
    problems: { file: string; line?: number; path?: string; message: string }[];
  };
  return problems.map(({ file, line, path, message }) =>
    [`${file}:${line ?? 1}`, path, message].filter((part) => part !== undefined && part !== '').join(': '),
  );
}
