// Demo, traffic: sends calls to one object as a client would and counts what came back, by the answers alone.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { DemoObject } from './manifests.ts';

/** One answer. `by` is the limit that refused, as the answer names it;  */
export interface Answer {
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
export async function callModel(base: string, object: DemoObject, user: string): Promise<Answer> {
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
function refusal(what: string): Answer {
  const name = /limit \\?"([^"\\]+)/.exec(what)?.[1];
  const wait = /again in ([0-9hms]+)/.exec(what)?.[1];
  return {
    passed: false,
    what: what.slice(0, 300),
    ...(name === undefined ? {} : { by: name }),
    ...(wait === undefined ? {} : { retryAfter: wait }),
  };
}

/** A session with an MCP server, by the official client. */
export async function openMcp(base: string, object: DemoObject, user: string): Promise<Client> {
  const client = new Client({ name: 'weir-demo', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(`${base}/mcp`), {
    requestInit: { headers: callerHeaders(object, user) },
  });
  await client.connect(transport);
  return client;
}

/** One tools/call; a refusal in the form ToolResult is an answer that the model can read. */
export async function callTool(client: Client, name: string, input: Record<string, unknown>): Promise<Answer> {
  try {
    const result = await client.callTool({ name, arguments: input });
    const text = (result.content as { text?: string }[])[0]?.text ?? '';
    if (result.isError !== true) return { passed: true, what: text };
    return refusal(text);
  } catch (error) {
    return refusal(error instanceof Error ? error.message : String(error));
  }
}

/** The tools that the demo calls: those that the object names and the server has, else the first that takes a text. */
export function toolsOf(
  object: DemoObject,
  listed: readonly {
    name: string;
    inputSchema: { properties?: Record<string, unknown> | undefined; required?: string[] | undefined };
  }[],
): { name: string; input: Record<string, unknown> }[] {
  const rateLimiting = object.spec['rateLimiting'] as { tools?: { name: string }[] } | undefined;
  const named = new Set(rateLimiting?.tools?.map((tool) => tool.name));
  const wanted = listed.filter((tool) => named.has(tool.name));
  const chosen = wanted.length > 0 ? wanted : listed.filter((tool) => tool.name === 'echo').slice(0, 1);
  return chosen.map((tool) => ({ name: tool.name, input: inputFor(tool.inputSchema) }));
}

function inputFor(schema: {
  properties?: Record<string, unknown> | undefined;
  required?: string[] | undefined;
}): Record<string, unknown> {
  const required = schema.required ?? [];
  return Object.fromEntries(
    required.map((name) => [
      name,
      (schema.properties?.[name] as { type?: string } | undefined)?.type === 'number' ? 1 : 'hello',
    ]),
  );
}
