// Limiter, request stage: looks at how a body begins and leaves it to be read. In: the incoming message; out: whether
// it begins like JSON. It waits for the first bytes alone.
import type { IncomingMessage } from 'node:http';
import { jsonStart } from './json-body.ts';

/** Fewer do not show the encoding, and cannot name a model. */
const LEAST_BYTES = 4;

/** `whole`: the body was over before that; it is read, and names no model. */
export interface BodyStart {
  readonly isJson: boolean;
  readonly whole?: Buffer;
}

/** Looks at the first bytes of a body; never rejects. A client that leaves meanwhile has sent no JSON. */
export function bodyStart(request: IncomingMessage): Promise<BodyStart> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    const finish = (start: BodyStart): void => {
      request.off('readable', onReadable).off('end', onEnd).off('close', onEnd);
      resolve(start);
    };
    const onEnd = (): void => {
      finish({ isJson: false, whole: bytes });
    };
    const onReadable = (): void => {
      const chunk = request.read() as Buffer | null;
      if (chunk === null) return;
      bytes = Buffer.concat([bytes, chunk]);
      const { start } = jsonStart(bytes);
      if (start === 'blank' || bytes.length < LEAST_BYTES) return;
      request.unshift(bytes);
      finish({ isJson: start !== 'none' });
    };
    request.on('readable', onReadable).once('end', onEnd).once('close', onEnd);
  });
}
