// What may be claimed on a sidecar is judged, whatever it looks like; and nothing unclaimed carries a request past
// the limit.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mcpTo } from '../running.ts';
import { Ends, MAX_BODY } from './unclaimed-ends.ts';

let ends: Ends;
beforeEach(async () => {
  ends = await Ends.open();
});
afterEach(async () => {
  await ends.close();
});

describe('what may be claimed is judged, whatever it looks like', () => {
  test.each([
    ['/unknown', '{"model":"m"}'],
    ['/unknown', `${' '.repeat(3_000)}{"model":"m"}`],
    ['/v1/files', '\n\t [{"model":"m"}]'],
    ['/v1//chat%2Fcompletions', '{"model":"m"}'],
    ['/static/../v1/chat/completions', '{"model":"m"}'],
  ])('a body that names the model to %s is counted or refused', async (path, body) => {
    await ends.start();
    const first = await ends.post(path, body);
    const second = await ends.post(path, body);
    // A list of messages names no model; everything else is one call of the one that is allowed.
    expect([first, second]).toEqual(body.includes('[') ? [200, 200] : [200, 429]);
  });

  test.each([
    ['ambiguous JSON', '{"model":"x","model":"m"}', {}],
    ['UTF-16', Buffer.from('  {"model":"m"}', 'utf16le'), {}],
    ['UTF-16 after much white space', Buffer.from(`${' '.repeat(900)}{"model":"m"}`, 'utf16le'), {}],
    ['an unknown coding', '{"model":"m"}', { 'content-encoding': 'snappy' }],
  ])('%s on any path is refused, and the server sees nothing', async (_name, body, headers) => {
    await ends.start();
    expect([400, 415]).toContain(await ends.post('/unknown', body, headers));
    expect(ends.received).toBe('');
  });

  test.each(['/x#/../v1/chat/completions', '/a%zz', '/a\\b', '/..;/x'])('the target %s is refused', async (target) => {
    await ends.start();
    const answer = await ends.exchange(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(ends.received).toBe('');
  });

  test('a body of an unclaimed request is a body to the server too, whatever it contains', async () => {
    await ends.start();
    const inner = 'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n{"model":"m"}';
    for (const framing of [
      [`Content-Length: ${inner.length}`, inner],
      ['Transfer-Encoding: chunked', `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`],
    ]) {
      ends.received = '';
      const [header = '', body = ''] = framing;
      const request = `POST /upload HTTP/1.1\r\nHost: a\r\n${header}\r\nConnection: close\r\n\r\n${body}`;
      await ends.exchange(request);
      expect(ends.received).toBe(request);
    }
  });

  test.each([
    'Content-Length: 5\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
    'Content-Length: 5\r\nContent-Length: 6',
    'Transfer-Encoding: xchunked',
    'Content-Length : 5',
  ])('two framings (%s) are refused', async (framing) => {
    await ends.start();
    const client = await ends.dial();
    await client.send(`POST /upload HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n0\r\n\r\n`).take('HTTP/1.1 400 ');
    client.socket.destroy();
    expect(ends.received).toBe('');
  });

  test('CONNECT is refused: what goes through it could not be judged; also behind another request', async () => {
    await ends.start();
    const answer = await ends.exchange('CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1.1 501 /);
    expect(ends.received).toBe('');
    ends.serve = () => undefined;
    await ends.exchange('GET /slow HTTP/1.1\r\nHost: a\r\n\r\nCONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: a\r\n\r\n');
    expect((await fetch(`${ends.running.admin}/livez`)).status).toBe(200);
  });

  test('a path that names a model of an object is judged by its path, one of nobody’s is not read', async () => {
    await ends.start();
    expect(await ends.post('/v1/models/m:predict', 'not JSON')).toBe(200);
    expect(await ends.post('/v1/models/m:predict', 'not JSON')).toBe(429);
    expect(await ends.post('/v1/models/other:predict', '{"not":"JSON"')).toBe(200);
  });

  test('an MCPServer claims what is below its path, and nothing else', async () => {
    const routing = {
      kind: 'mcp',
      transport: 'streamable-http',
      hostnames: [],
      pathPrefix: '/mcp',
      targets: [],
    } as const;
    await ends.startWith(mcpTo(ends.url, { routing }));
    expect(await ends.post('/mcp', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}')).toBe(200);
    expect(await ends.post('/mcp', 'x'.repeat(2 * MAX_BODY))).toBe(413);
    ends.received = '';
    expect(await ends.post('/v1/chat/completions', '{"model":"x","model":"m"}')).toBe(200);
    expect(ends.received).toContain('{"model":"x","model":"m"}');
  });
});
