// Streams through the proxy: never buffered, in step with both ends, and cancelled when the client leaves.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { LimitConfig } from '../../../src/contract/limiter-config.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { limit } from '../fixtures.ts';
import { post, routeTo, startLimiter, until, type Running } from '../running.ts';

type Serve = (request: IncomingMessage, response: ServerResponse) => void;

let server: Server;
let serve: Serve;
let running: Running;

const start = async (...limits: LimitConfig[]): Promise<string> => {
  const { port } = server.address() as AddressInfo;
  running = await startLimiter([routeTo(`http://127.0.0.1:${port}`, { limits })]);
  return `${running.traffic}/v1/chat/completions`;
};

beforeEach(async () => {
  server = createServer((request, response) => {
    request.resume();
    serve(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  await running.close();
  server.closeAllConnections();
  server.close();
});

const CHAT = { model: 'm', stream: true };

describe('a stream', () => {
  test('passes unbuffered: the upstream sends chunk n+1 only after the client confirmed n', async () => {
    const confirmed: (() => void)[] = [];
    serve = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      const send = async (): Promise<void> => {
        for (let chunk = 0; chunk < 20; chunk += 1) {
          response.write(`data: ${chunk}\n\n`);
          await new Promise<void>((resolve) => confirmed.push(resolve));
        }
        response.end();
      };
      void send();
    };
    const answer = await post(await start(), CHAT);
    const chunks: string[] = [];
    for await (const chunk of answer.body!) {
      chunks.push(Buffer.from(chunk as Uint8Array).toString());
      confirmed.shift()?.();
    }
    expect(chunks).toEqual(Array.from({ length: 20 }, (_each, index) => `data: ${index}\n\n`));
  });

  test('shows its headers before the first byte of its body', async () => {
    let open: ServerResponse | undefined;
    serve = (_request, response) => {
      open = response;
      response.writeHead(200, { 'x-early': 'yes', 'content-length': '2' });
      response.flushHeaders();
    };
    const answer = await post(await start(), CHAT);
    expect(answer.headers.get('x-early')).toBe('yes');
    open?.end('ok');
    expect(await answer.text()).toBe('ok');
  });

  test('trap 34: that compresses passes untouched, its bytes as they came', async () => {
    const bytes = gzipSync('data: {}\n\n');
    serve = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }).end(bytes);
    };
    const url = await start();
    const [answer] = (await once(httpRequest(url, { method: 'POST' }).end(JSON.stringify(CHAT)), 'response')) as [
      IncomingMessage,
    ];
    const received = Buffer.concat(await answer.toArray());
    expect(answer.headers['content-encoding']).toBe('gzip');
    expect(received.equals(bytes)).toBe(true);
    expect(gunzipSync(received).toString()).toBe('data: {}\n\n');
  });

  test('waits for a client that reads slowly: the limiter does not take in what cannot go out', async () => {
    let written = 0;
    let isFull = false;
    serve = (_request, response) => {
      response.writeHead(200);
      const push = (): void => {
        for (;;) {
          written += 65_536;
          if (!response.write(Buffer.alloc(65_536))) break;
        }
        isFull = true;
        response.once('drain', push);
      };
      push();
    };
    const url = await start();
    const [answer] = (await once(httpRequest(url, { method: 'POST' }).end(JSON.stringify(CHAT)), 'response')) as [
      IncomingMessage,
    ];
    answer.pause();
    await until(() => isFull);
    let before = 0;
    let unchanged = 0;
    await until(() => {
      unchanged = before === written ? unchanged + 1 : 0;
      before = written;
      return unchanged === 20;
    });
    expect(written).toBeLessThan(32 * 1024 * 1024);
    answer.destroy();
  });

  test('that breaks in the middle looks broken to the client', async () => {
    serve = (_request, response) => {
      response.writeHead(200);
      response.write('data: 1\n\n', () => response.destroy());
    };
    const answer = await post(await start(limit({ rule: tokens(1, HOUR) })), CHAT);
    await expect(answer.text()).rejects.toThrow();
    expect((await post(`${running.traffic}/v1/chat/completions`, CHAT)).status).toBe(429);
  });
});

describe('trap 21: the client leaves', () => {
  const open = (url: string): { leave: () => void } => {
    const call = httpRequest(url, { method: 'POST' });
    call.on('error', () => undefined);
    call.end(JSON.stringify(CHAT));
    return { leave: () => call.destroy() };
  };

  test('before the first byte and in the middle: the upstream is cancelled, the request stays charged', async () => {
    for (const answersFirst of [false, true]) {
      let isOpen = false;
      let isCancelled = false;
      serve = (_request, response) => {
        if (answersFirst) response.writeHead(200).write('data: 1\n\n');
        isOpen = true;
        response.on('close', () => {
          isCancelled = true;
        });
      };
      const url = await start(limit({ rule: tokens(1, HOUR) }));
      const client = open(url);
      await until(() => isOpen);
      client.leave();
      await until(() => isCancelled);
      expect((await post(url, CHAT)).status).toBe(429);
      await running.close();
    }
  });

  test('after the end: nothing is cancelled, one request was charged', async () => {
    serve = (_request, response) => response.end('done');
    const url = await start(limit({ rule: tokens(1, HOUR) }));
    expect(await (await post(url, CHAT)).text()).toBe('done');
    expect((await post(url, CHAT)).status).toBe(429);
  });
});

describe('shutting down', () => {
  test('finishes streams in flight, takes no new ones', async () => {
    let finish: (() => void) | undefined;
    serve = (_request, response) => {
      response.writeHead(200).write('first ');
      finish = () => response.end('last');
    };
    const url = await start();
    const answer = await post(url, CHAT);
    const closed = running.close();
    await expect(post(url, CHAT)).rejects.toThrow();
    finish?.();
    expect(await answer.text()).toBe('first last');
    await closed;
  });

  test('cuts what does not end within the grace period', async () => {
    serve = (_request, response) => {
      response.writeHead(200).write('first ');
    };
    const { port } = server.address() as AddressInfo;
    running = await startLimiter([routeTo(`http://127.0.0.1:${port}`)], { graceMs: 50 });
    const answer = await post(`${running.traffic}/v1/chat/completions`, CHAT);
    await running.close();
    await expect(answer.text()).rejects.toThrow();
  });
});
