// The webhook's port: what it answers and when it stops waiting, what it takes in, and a certificate that changes
// under it.
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { request as httpsRequest } from 'node:https';
import { CertificateHolder } from '../../../src/controller/certificates/certificate-source.ts';
import { ReviewError } from '../../../src/controller/webhook/admission-review.ts';
import { WebhookServer } from '../../../src/controller/webhook/webhook-server.ts';
import { makePushCertificates, type PushCertificates } from '../../contract/push-certificates.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';

let first: PushCertificates;
let second: PushCertificates;
beforeAll(async () => {
  first = await makePushCertificates();
  second = await makePushCertificates();
}, 30_000);

const { log, lines } = capturingLogger();
let certificates: CertificateHolder;
let server: WebhookServer | undefined;
let port = 0;
let answer: (text: string) => Promise<string>;

beforeEach(async () => {
  lines.length = 0;
  answer = (text) => Promise.resolve(`{"got":${text.length}}`);
  certificates = new CertificateHolder({ ...first.tls, caBundle: first.ca });
  await serve();
});
afterEach(async () => {
  await server?.close();
});

/** Only where a test waits for the deadline is it shorter than the usual one: a busy machine answers late, too. */
async function serve(timing: { readonly answerMs?: number } = {}): Promise<void> {
  await server?.close();
  server = new WebhookServer({ certificates, log, ...timing, answer: (text) => answer(text) });
  port = await server.listen({ host: '127.0.0.1', port: 0 });
}

interface Call {
  readonly path?: string;
  readonly method?: string;
  readonly body?: string | Buffer;
  readonly ca?: string;
}

/** Status, body, and whether the connection is kept. */
function call({ path = '/inject', method = 'POST', body = '{}', ca = first.ca }: Call = {}): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest({ host: '127.0.0.1', port, path, method, ca, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => {
        resolve([response.statusCode ?? 0, text]);
      });
    });
    request.on('error', reject).end(method === 'GET' ? undefined : body);
  });
}

describe('the webhook', () => {
  test('answers a review at its path, also with a query, and nothing else', async () => {
    expect(await call({ path: '/inject?timeout=5s', body: '12345' })).toEqual([200, '{"got":5}']);
    expect((await call({ path: '/' }))[0]).toBe(404);
    expect((await call({ method: 'GET' }))[0]).toBe(405);
  });

  test('says what is wrong with a review, and not what is wrong with itself', async () => {
    answer = () => Promise.reject(new ReviewError('the body is not JSON'));
    expect(await call()).toEqual([400, 'the body is not JSON\n']);
    answer = () => Promise.reject(new Error('inner secret'));
    expect(await call()).toEqual([500, 'the pod could not be reviewed\n']);
    expect(lines.join('')).toContain('inner secret');
  });

  test('gives up in time, and goes on answering others', async () => {
    await serve({ answerMs: 600 });
    let end: (text: string) => void = () => undefined;
    answer = () => new Promise((resolve) => (end = resolve));
    expect((await call())[0]).toBe(503);
    end('late');
    answer = () => Promise.resolve('in time');
    expect(await call()).toEqual([200, 'in time']);
  });

  test('takes 4 MiB in and not a byte more', async () => {
    expect(await call({ body: Buffer.alloc(4 * 1024 * 1024, 'x') })).toEqual([200, '{"got":4194304}']);
    const tooMuch = await call({ body: Buffer.alloc(4 * 1024 * 1024 + 1, 'x') }).catch(() => [413]);
    expect(tooMuch[0]).toBe(413);
    expect((await call())[0]).toBe(200);
  });

  test('serves a new certificate to the next caller, and goes on with the old one when the new one is none', async () => {
    await expect(call({ ca: second.ca })).rejects.toThrow();
    certificates.set({ ...second.tls, caBundle: second.ca });
    expect((await call({ ca: second.ca }))[0]).toBe(200);
    await expect(call({ ca: first.ca })).rejects.toThrow();
    certificates.set({ cert: 'none', key: 'none', caBundle: '' });
    expect(lines.join('')).toContain('the webhook cannot use the new certificate');
    expect((await call({ ca: second.ca }))[0]).toBe(200);
  });

  test('ends what it is asked before it closes, and takes nothing new', async () => {
    let end: (text: string) => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      answer = () => {
        resolve();
        return new Promise((done) => (end = done));
      };
    });
    const pending = call();
    await asked;
    const closed = server!.close();
    end('the last');
    expect(await pending).toEqual([200, 'the last']);
    await closed;
    await expect(call()).rejects.toThrow();
  });
});
