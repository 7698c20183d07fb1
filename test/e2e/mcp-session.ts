// End to end, MCP: sessions of the official client, and raw messages where a test needs what that client never sends.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { call, type Answer } from './traffic.ts';

type Headers = Readonly<Record<string, string>>;

/** What became of a tools/call. */
export interface ToolAnswer {
  readonly passed: boolean;
  readonly text: string;
}

/** The answers of the tools of the official example server that tests use. */
export const ECHO = { name: 'echo', arguments: { message: 'hello' } };
export const SUM = { name: 'get-sum', arguments: { a: 2, b: 3 } };

/** A session of the official client; `url` is that of the endpoint. */
export async function openSession(url: string, headers: Headers = {}): Promise<Client> {
  const client = new Client({ name: 'weir-test', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
  await client.connect(transport);
  return client;
}

/** One tools/call by the official client; a refusal in the form ToolResult is a result that the model reads. */
export async function callTool(client: Client, tool: { name: string; arguments: object }): Promise<ToolAnswer> {
  const result = await client.callTool({ name: tool.name, arguments: { ...tool.arguments } });
  const [content] = result.content as { type: string; text?: string }[];
  return { passed: result.isError !== true, text: content?.text ?? '' };
}

/** How many of so many calls passed, all sent at once. */
export async function passedOf(client: Client, tool: typeof ECHO | typeof SUM, calls: number): Promise<number> {
  const answers = await Promise.all(Array.from({ length: calls }, () => callTool(client, tool)));
  return answers.filter(({ passed }) => passed).length;
}

/** A tools/call as it is on the wire; without an id it is a notification. */
export function toolsCall(tool: { name: string; arguments: object }, id?: string | number): object {
  return { jsonrpc: '2.0', ...(id === undefined ? {} : { id }), method: 'tools/call', params: tool };
}

/** Sends messages as they are within one session that was opened at the start. */
export class RawSession {
  readonly #url: string;
  readonly #headers: Headers;

  private constructor(url: string, headers: Headers) {
    this.#url = url;
    this.#headers = headers;
  }

  static async open(url: string, protocolVersion = '2025-06-18', headers: Headers = {}): Promise<RawSession> {
    const accept = { accept: 'application/json, text/event-stream', ...headers };
    const params = { protocolVersion, capabilities: {}, clientInfo: { name: 'weir-test', version: '1.0.0' } };
    const body = { jsonrpc: '2.0', id: 0, method: 'initialize', params };
    const answer = await call(url, { headers: accept, body });
    const session = answer.headers['mcp-session-id'];
    if (answer.status !== 200 || session === undefined) throw new Error(`initialize: ${answer.status} ${answer.body}`);
    const all = { ...accept, 'mcp-session-id': session, 'mcp-protocol-version': protocolVersion };
    await call(url, { headers: all, body: { jsonrpc: '2.0', method: 'notifications/initialized' } });
    return new RawSession(url, all);
  }

  async send(body: string | object, headers: Headers = {}): Promise<Answer> {
    return await call(this.#url, { headers: { ...this.#headers, ...headers }, body });
  }
}
