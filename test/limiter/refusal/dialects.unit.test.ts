// Shapes: which dialect answers which request.
import { describe, expect, test } from '@jest/globals';
import type { Dialect } from '../../../src/contract/limiter-config.ts';
import { shapeOf, type ShapeRequest } from '../../../src/limiter/refusal/dialects.ts';

const request = (path: string, change: Partial<ShapeRequest> = {}): ShapeRequest => ({ path, headers: {}, ...change });

describe('dialect Auto', () => {
  test.each<[string, Partial<ShapeRequest>, string]>([
    ['/v1/chat/completions', {}, 'openai'],
    ['/openai/v1/completions/', {}, 'openai'],
    ['/serving/chat/v1/embeddings', {}, 'openai'],
    ['/v1/responses/resp_1/cancel', {}, 'openai'],
    ['/v1/models', {}, 'openai'],
    ['/v1/messages', {}, 'anthropic'],
    ['/a/v1/messages/count_tokens', {}, 'anthropic'],
    ['/v1/models', { headers: { 'anthropic-version': '2023-06-01' } }, 'anthropic'],
    ['/v1/messagesx', {}, 'problem'],
    ['/v1/models/iris:predict', {}, 'problem'],
    ['/', {}, 'problem'],
    ['/v1/chat', {}, 'problem'],
    ['/mcp', { tool: 'search' }, 'mcp'],
    ['/v1/chat/completions', { isJsonRpc: true }, 'mcp'],
  ])('%s %j: %s', (path, change, shape) => {
    expect(shapeOf('Auto', request(path, change))).toBe(shape);
  });
});

describe('a dialect of the object', () => {
  test.each<[Dialect, string]>([
    ['OpenAI', 'openai'],
    ['Anthropic', 'anthropic'],
    ['Problem', 'problem'],
    ['MCP', 'problem'],
  ])('%s is taken whatever the path: %s', (dialect, shape) => {
    expect(shapeOf(dialect, request('/v1/messages'))).toBe(shape);
  });

  test('MCP answers JSON-RPC messages', () => {
    expect(shapeOf('MCP', request('/mcp', { isJsonRpc: true }))).toBe('mcp');
  });
});
