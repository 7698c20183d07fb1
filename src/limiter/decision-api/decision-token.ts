// Limiter, decision API: who asks? In: the Authorization header; out: the owner of what is reserved, or undefined.
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';

/** Who may settle a reservation: the one who made it. */
export type Owner = string;

interface KnownToken {
  readonly owner: Owner;
  readonly digest: Buffer;
}

const BEARER = /^Bearer +(\S+)$/i;

/** Tells the owners of bearer tokens; the file is read again when it changed, so tokens can be rotated. */
export class TokenFile {
  readonly #path: string;
  #stamp = '';
  #tokens: readonly KnownToken[] = [];

  /** @throws Error when the file cannot be read or holds no token; its message holds no token either. */
  constructor(path: string) {
    this.#path = path;
    this.#refresh();
    if (this.#tokens.length === 0)
      throw new Error(`${path} contains no token: write one per line, "name:token" or "token"`);
  }

  ownerOf(request: IncomingMessage): Owner | undefined {
    const token = BEARER.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    this.#tryRefresh();
    const digest = digestOf(token);
    return this.#tokens.find((known) => timingSafeEqual(known.digest, digest))?.owner;
  }

  /** A file that is gone for a moment (an atomic replace) leaves the known tokens valid. */
  #tryRefresh(): void {
    try {
      this.#refresh();
    } catch {
      return;
    }
  }

  #refresh(): void {
    const { mtimeMs, size, ino } = statSync(this.#path);
    const stamp = `${mtimeMs} ${size} ${ino}`;
    if (stamp === this.#stamp) return;
    const lines = readFileSync(this.#path, 'utf8').split('\n');
    this.#tokens = lines
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .map(parseLine);
    this.#stamp = stamp;
  }
}

/** `name:token`, or a token alone, whose owner is its own digest: nothing of a token is ever a name. */
function parseLine(line: string): KnownToken {
  const colon = line.indexOf(':');
  const token = line.slice(colon + 1);
  const digest = digestOf(token);
  return { owner: colon > 0 ? `name ${line.slice(0, colon)}` : `digest ${digest.toString('hex')}`, digest };
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** True for addresses that only this host can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
