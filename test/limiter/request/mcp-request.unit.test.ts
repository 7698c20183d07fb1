// Which tools an MCP body calls, and which bodies are answered by the limiter: batches, header mismatches, broken JSON.
import { describe, expect, test } from '@jest/globals';
import { readJsonBody } from '../../../src/limiter/request/json-body.ts';
import { isMcpFault, readMcpRequest, type McpHeaders } from '../../../src/limiter/request/mcp-request.ts';

const read = (body: unknown, headers: McpHeaders = {}, session?: string): ReturnType<typeof readMcpRequest> =>
  readMcpRequest(readJsonBody(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))), headers, session);
const call = (name: string, id?: string | number): object => ({
  jsonrpc: '2.0',
  method: 'tools/call',
  params: { name },
  ...(id === undefined ? {} : { id }),
});
const callsOf = (...args: Parameters<typeof read>): unknown => {
  const request = read(...args);
  return isMcpFault(request)
    ? request.code
    : request.calls.map(({ name, id }) => [name, id === undefined ? undefined : (JSON.parse(id) as unknown)]);
};

describe('an MCP body', () => {
  test('counts tools/call alone, notifications of it too, ids with their type', () => {
    expect(callsOf(call('echo', 1))).toEqual([['echo', 1]]);
    expect(callsOf(call('echo', '1'))).toEqual([['echo', '1']]);
    expect(callsOf(call('echo'))).toEqual([['echo', undefined]]);
    expect(callsOf({ jsonrpc: '2.0', id: 1, method: 'tools/call' })).toEqual([[undefined, 1]]);
    for (const method of ['initialize', 'ping', 'tools/list', 'prompts/get', 'notifications/initialized']) {
      expect(callsOf({ jsonrpc: '2.0', id: 1, method })).toEqual([]);
    }
    expect(callsOf({ jsonrpc: '2.0', id: 1, result: {} })).toEqual([]);
    expect(callsOf('')).toEqual([]);
  });

  test.each([['not json'], ['{"method":'], ['{"method":"ping","method":"tools/call"}']])(
    '%s is a parse error',
    (body) => {
      expect(callsOf(body)).toBe(-32700);
    },
  );

  test('that is no object is an invalid request', () => {
    expect(callsOf('[1]', { 'mcp-protocol-version': '2025-03-26' })).toBe(-32600);
  });
});

describe('trap 24: a batch does not count as one', () => {
  const batch = [call('a', 1), { jsonrpc: '2.0', id: 2, method: 'ping' }, call('b'), call('a', 3)];

  test('each element of a 2025-03-26 batch is a call', () => {
    const calls = [
      ['a', 1],
      ['b', undefined],
      ['a', 3],
    ];
    expect(callsOf(batch, { 'mcp-protocol-version': '2025-03-26' })).toEqual(calls);
    expect(callsOf(batch, {}, '2025-03-26')).toEqual(calls);
    expect(callsOf(batch)).toEqual(calls);
  });

  test('an empty batch is none, and is told so', () => {
    expect(read('[]')).toEqual({
      code: -32600,
      message: 'Invalid Request: the batch is empty',
    });
  });

  test('every other protocol version has no batches', () => {
    for (const version of ['2025-06-18', '2025-11-25', '2026-07-28', '2024-11-05']) {
      expect(callsOf(batch, { 'mcp-protocol-version': version })).toBe(-32600);
      expect(callsOf(batch, {}, version)).toBe(-32600);
    }
    expect(callsOf([], { 'mcp-protocol-version': '2025-03-26' })).toBe(-32600);
  });
});

describe('trap 25: header and body of a call differ', () => {
  const encoded = `=?base64?${Buffer.from('größe').toString('base64')}?=`;
  test.each([
    [call('a', 7), { 'mcp-method': 'tools/list' }],
    [call('a', 7), { 'mcp-method': 'tools/call', 'mcp-name': 'b' }],
    [call('größe', 7), { 'mcp-name': `=?base64?${Buffer.from('other').toString('base64')}?=` }],
    [call('a', 7), { 'mcp-name': '=?base64?//8=?=' }],
    [{ jsonrpc: '2.0', id: 7, method: 'tools/call', params: {} }, { 'mcp-name': 'a' }],
    [{ jsonrpc: '2.0', id: 7, method: 'resources/read', params: { uri: 'x:a' } }, { 'mcp-name': 'x:b' }],
  ])('%j with %j is -32020 with the id', (body, headers) => {
    expect(read(body, headers)).toMatchObject({ code: -32020, id: '7' });
  });

  test.each([
    [call('a', 1), { 'mcp-method': 'tools/call', 'mcp-name': 'a' }],
    [call('größe', 1), { 'mcp-name': encoded }],
    [call('a', 1), {}],
    [{ jsonrpc: '2.0', id: 7, method: 'tools/list' }, { 'mcp-method': 'tools/list' }],
  ])('%j with %j passes', (body, headers) => {
    expect(isMcpFault(read(body, headers))).toBe(false);
  });
});
