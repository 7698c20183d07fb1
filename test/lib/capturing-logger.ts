// A logger whose lines a test can read.
import { Writable } from 'node:stream';
import winston from 'winston';
import type { Logger } from '../../src/lib/log.ts';

/** `lines` grows as the logger is written to; each is the JSON text of one line. */
export function capturingLogger(): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString());
      done();
    },
  });
  const log = winston.createLogger({
    level: 'debug',
    format: winston.format.json(),
    transports: [new winston.transports.Stream({ stream })],
  });
  return { log, lines };
}
