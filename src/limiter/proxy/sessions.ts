// Limiter, proxy: remembers which protocol version an MCP session asked for, so that its later requests are read by it.
import { LRUCache } from 'lru-cache';

/** Sessions that are remembered; a forgotten one is read by its headers alone. */
const MAX_SESSIONS = 10_000;

/** Protocol versions by object and session. */
export class McpSessions {
  readonly #versions = new LRUCache<string, string>({ max: MAX_SESSIONS });

  /** Notes what an initialize asked for, under the session that the server opened. */
  opened(object: string, session: string, protocolVersion: string): void {
    this.#versions.set(`${object}\n${session}`, protocolVersion);
  }

  versionOf(object: string, session: string | undefined): string | undefined {
    return session === undefined ? undefined : this.#versions.get(`${object}\n${session}`);
  }
}
