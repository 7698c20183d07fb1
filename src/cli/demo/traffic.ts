// CLI, demo, traffic: sends calls to one object as a client would and counts what came back, by the answers alone.
import type { DemoObject } from './manifests.ts';

/** One answer. `by` is the limit that refused, as the answer names it;  */
export interface DemoAnswer {
  readonly passed: boolean;
  readonly what: string;
  readonly by?: string;
  /** As the answer says it: `6s`, `15m0s`. */
  readonly retryAfter?: string;
}

const MOST_CALLS = 60;

/** How many calls it takes to meet the smallest amount of the object: that and five more, at most 60. */
export function callsFor(object: DemoObject): number {
  const amounts: number[] = [];
  collectAmounts(object.spec['rateLimiting'], amounts);
  return Math.min(MOST_CALLS, Math.min(MOST_CALLS, ...amounts.filter((amount) => amount > 0)) + 5);
}

function collectAmounts(node: unknown, into: number[]): void {
  if (typeof node !== 'object' || node === null) return;
  if ((node as { enforcement?: unknown }).enforcement === 'Shadow') return;
  for (const [name, value] of Object.entries(node)) {
    if ((name === 'maxTokens' || name === 'burst' || name === 'limit') && typeof value === 'number') into.push(value);
    collectAmounts(value, into);
  }
}

/** The headers by which the object knows the user `ann`, when it trusts headers at all. */
export function callerHeaders(object: DemoObject, user: string): Record<string, string> {
  const authentication = object.spec['authentication'] as
    { trustedHeaders?: { user?: string; application?: string } } | undefined;
  const trusted = authentication?.trustedHeaders;
  return {
    ...(trusted?.user === undefined ? {} : { [trusted.user]: user }),
    ...(trusted?.application === undefined ? {} : { [trusted.application]: `${user}-app` }),
  };
}

/** One chat completion. */
export async function callModel(base: string, object: DemoObject, user: string): Promise<DemoAnswer> {
  const model = (object.spec['modelName'] ?? (object.spec['loraAdapters'] as string[] | undefined)?.[0]) as string;
  const response = await fetch(`${base}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...callerHeaders(object, user) },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Say hello.' }] }),
  });
  const body = await response.text();
  if (response.ok) return { passed: true, what: String(response.status) };
  const message = messageIn(body);
  return refusal(`${response.status} ${message}`);
}

/** The message of an error in the shapes of OpenAI, Anthropic and JSON-RPC; else the beginning of the body. */
function messageIn(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: { message?: string } };
    return error?.message ?? body.slice(0, 120);
  } catch {
    return body.slice(0, 120);
  }
}

/** A refusal in any form: its text names the limit and the wait, also where a client shows the JSON as it came. */
function refusal(what: string): DemoAnswer {
  const name = /limit \\?"([^"\\]+)/.exec(what)?.[1];
  const wait = /again in ([0-9hms]+)/.exec(what)?.[1];
  return {
    passed: false,
    what: what.slice(0, 300),
    ...(name === undefined ? {} : { by: name }),
    ...(wait === undefined ? {} : { retryAfter: wait }),
  };
}

/** A JSON-RPC answer of an MCP server, as far as the demo reads it. */
interface McpAnswer {
  readonly result?: {
    readonly isError?: boolean;
    readonly content?: readonly { readonly text?: string }[];
    readonly tools?: readonly DemoTool[];
  };
  readonly error?: { readonly message: string };
}

/** A tool as `tools/list` describes it. */
export interface DemoTool {
  readonly name: string;
  readonly inputSchema: { readonly properties?: Record<string, unknown>; readonly required?: string[] };
}

/** A session with an MCP server over streamable HTTP. */
export class McpSession {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  #nextId = 0;

  private constructor(url: string, headers: Record<string, string>) {
    this.#url = url;
    this.#headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers };
  }

  /** @throws Error when the server does not answer `initialize` */
  static async open(base: string, object: DemoObject, user: string): Promise<McpSession> {
    const session = new McpSession(`${base}/mcp`, callerHeaders(object, user));
    const clientInfo = { name: 'weir-demo', version: '1.0.0' };
    await session.#ask('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo });
    return session;
  }

  async tools(): Promise<readonly DemoTool[]> {
    return (await this.#ask('tools/list', {})).result?.tools ?? [];
  }

  /** One tools/call; a refusal in the form ToolResult is an answer that the model can read. */
  async call(name: string, input: Record<string, unknown>): Promise<DemoAnswer> {
    const { result, error } = await this.#ask('tools/call', { name, arguments: input });
    const text = error?.message ?? result?.content?.[0]?.text ?? '';
    return error === undefined && result?.isError !== true ? { passed: true, what: text } : refusal(text);
  }

  async #ask(method: string, params: Record<string, unknown>): Promise<McpAnswer> {
    this.#nextId += 1;
    const body = JSON.stringify({ jsonrpc: '2.0', id: this.#nextId, method, params });
    const response = await fetch(this.#url, { method: 'POST', headers: this.#headers, body });
    return (await response.json()) as McpAnswer;
  }
}

/** The tools that the demo calls: those that the object names and the server has, else the first that takes a text. */
export function toolsOf(
  object: DemoObject,
  listed: readonly DemoTool[],
): { name: string; input: Record<string, unknown> }[] {
  const rateLimiting = object.spec['rateLimiting'] as { tools?: { name: string }[] } | undefined;
  const named = new Set(rateLimiting?.tools?.map((tool) => tool.name));
  const wanted = listed.filter((tool) => named.has(tool.name));
  const chosen = wanted.length > 0 ? wanted : listed.filter((tool) => tool.name === 'echo').slice(0, 1);
  return chosen.map((tool) => ({ name: tool.name, input: inputFor(tool.inputSchema) }));
}

function inputFor(schema: DemoTool['inputSchema']): Record<string, unknown> {
  const required = schema.required ?? [];
  return Object.fromEntries(
    required.map((name) => [
      name,
      (schema.properties?.[name] as { type?: string } | undefined)?.type === 'number' ? 1 : 'hello',
    ]),
  );
}
