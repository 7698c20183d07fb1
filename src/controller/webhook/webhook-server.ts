// Controller: the port that the API server asks before it makes a pod. Input: HTTPS requests; a certificate that may
// change. Output: the answers of one handler; everything bounded, because whoever makes a pod waits for it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { ReviewError } from './admission-review.ts';
import type { CertificateSource } from '../certificates/certificate-source.ts';

export interface WebhookServerParts {
  readonly certificates: CertificateSource;
  /** The text of a review -> the text of the answer. */
  readonly answer: (text: string) => Promise<string>;
  readonly log: Logger;
  /**
   * How long one answer may take, ms; default less than the API server waits (timeoutSeconds 5), so that it hears
   * why.
   */
  readonly answerMs?: number;
}

/** The path of the injector in the MutatingWebhookConfiguration. */
export const INJECT_PATH = '/inject';

/** A pod of 1.5 MiB (etcd's most), twice in a review, with room. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const ANSWER_MS = 4_500;
const MAX_CONNECTIONS = 1_000;
const GRACE_MS = 5_000;

class TooLargeError extends Error {}
class TooLateError extends Error {}

export class WebhookServer {
  readonly #parts: WebhookServerParts;
  readonly #server: Server;
  #endWatch: () => void = () => undefined;

  constructor(parts: WebhookServerParts) {
    this.#parts = parts;
    this.#server = createServer({ minVersion: 'TLSv1.2', handshakeTimeout: 5_000 }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#server.requestTimeout = ANSWER_MS;
    this.#server.headersTimeout = ANSWER_MS;
    // Longer than the API server keeps an idle connection (90 s): it is never closed under a request.
    this.#server.keepAliveTimeout = 100_000;
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** @returns the port. @throws Error when it cannot be bound, or the certificate cannot be used */
  async listen({ host, port }: { readonly host: string; readonly port: number }): Promise<number> {
    const { certificates, log } = this.#parts;
    this.#useCertificate();
    this.#endWatch = certificates.onChange(() => {
      try {
        this.#useCertificate();
      } catch (error) {
        log.error('the webhook cannot use the new certificate', { error: messageOf(error) });
      }
    });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(port, host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', (error) => log.error('webhook port failed', { error: messageOf(error) }));
    return (this.#server.address() as AddressInfo).port;
  }

  /** Answers what is being asked, then closes. */
  async close(): Promise<void> {
    this.#endWatch();
    if (!this.#server.listening) return;
    const cut = setTimeout(() => {
      this.#server.closeAllConnections();
    }, GRACE_MS);
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeIdleConnections();
    });
    clearTimeout(cut);
  }

  #useCertificate(): void {
    const { cert, key } = this.#parts.certificates.current();
    this.#server.setSecureContext({ cert, key });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [status, body] = await this.#reply(request);
    // Once the server closes, a connection that stays open would keep it from it.
    if (!this.#server.listening || !request.complete) response.setHeader('connection', 'close');
    response.writeHead(status, { 'content-type': status === 200 ? 'application/json' : 'text/plain' }).end(body);
  }

  async #reply(request: IncomingMessage): Promise<[number, string]> {
    const [path] = (request.url ?? '').split('?', 1);
    if (path !== INJECT_PATH) return [404, `not found: try POST ${INJECT_PATH}\n`];
    if (request.method !== 'POST') return [405, 'only POST is allowed\n'];
    try {
      return [
        200,
        await beforeDeadline(
          readBody(request).then((text) => this.#parts.answer(text)),
          this.#parts.answerMs ?? ANSWER_MS,
        ),
      ];
    } catch (error) {
      if (error instanceof TooLargeError) return [413, `${error.message}\n`];
      if (error instanceof ReviewError) return [400, `${error.message}\n`];
      this.#parts.log.error('a pod could not be reviewed', { error: messageOf(error) });
      return [error instanceof TooLateError ? 503 : 500, 'the pod could not be reviewed\n'];
    }
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new TooLargeError(`a review may have at most ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function beforeDeadline<T>(work: Promise<T>, answerMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new TooLateError(`no answer within ${answerMs} ms`));
    }, answerMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
