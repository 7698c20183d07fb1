// Limiter: upstreams that accept no connections, by object. In: how connections to upstreams failed; out: those whose
// last calls all failed so. What answers again is taken back only after a while without a failure: one that comes and
// goes is reported once.
import type { UpstreamTrouble } from '../../contract/limiter-report.ts';
import { RecentMap } from '../../lib/recent-map.ts';
import type { ConnectionFault } from '../proxy/upstream-errors.ts';

/** Failures in a row that are told. */
export const FAILURES_TO_TELL = 3;
/** An answer takes it back when nothing failed for this long, ms. */
export const CALM_MS = 10_000;
/** Without any call nothing is known: trouble that is older than this is not told any more, ms. */
export const FORGET_MS = 600_000;
/** Pairs of object and upstream that are remembered. */
const MOST = 1_000;

/** How it shows, for the status: constant texts. */
const DETAILS: Readonly<Record<ConnectionFault, string>> = {
  refused: 'accepts no connections',
  reset: 'closes connections before it answers',
  timeout: 'does not accept connections in time',
  unresolved: 'its name cannot be resolved',
  tls: 'the TLS handshake fails',
};

interface Entry {
  readonly object: string;
  readonly upstream: string;
  /** Of the first failure in a row: later ones may show in other ways. */
  trouble: ConnectionFault;
  failuresInARow: number;
  lastFailureMs: number;
  isTold: boolean;
  hasAnswered: boolean;
}

export class UpstreamHealth {
  #entries = new RecentMap<Entry>(MOST);
  readonly #told = new Map<string, Entry>();

  /**
   * A call got no connection, or lost it before a byte of the answer. A fault of the request is never reported here.
   */
  unreachable(object: string, url: string, nowMs: number, trouble: ConnectionFault): void {
    const key = `${object} ${url}`;
    const upstream = new URL(url).origin;
    const fresh = { object, upstream, trouble, failuresInARow: 0, lastFailureMs: 0, isTold: false, hasAnswered: false };
    const entry = this.#told.get(key) ?? this.#entries.get(key) ?? fresh;
    if (entry.failuresInARow === 0) entry.trouble = trouble;
    entry.failuresInARow += 1;
    entry.lastFailureMs = nowMs;
    entry.hasAnswered = false;
    if (entry.failuresInARow >= FAILURES_TO_TELL) {
      entry.isTold = true;
      if (this.#told.size < MOST) this.#told.set(key, entry);
    }
    this.#entries.set(key, entry);
  }

  /** A call was answered, whatever the answer. Costs nothing while no call fails. */
  answered(object: string, url: string): void {
    if (this.#entries.size === 0 && this.#told.size === 0) return;
    const key = `${object} ${url}`;
    const entry = this.#told.get(key) ?? this.#entries.get(key);
    if (entry === undefined) return;
    if (entry.isTold) {
      entry.failuresInARow = 0;
      entry.hasAnswered = true;
    } else this.#entries.delete(key);
  }

  /** The object is gone, or has another form. */
  forget(object: string): void {
    for (const [key, entry] of this.#told) if (entry.object === object) this.#drop(key);
  }

  /** What is to be told now, in a stable order. */
  troubles(nowMs: number): UpstreamTrouble[] {
    for (const [key, { hasAnswered, lastFailureMs }] of this.#told) {
      const sinceMs = nowMs - lastFailureMs;
      if (sinceMs > FORGET_MS || (hasAnswered && sinceMs > CALM_MS)) this.#drop(key);
    }
    return [...this.#told.values()]
      .map(({ object, upstream, trouble }) => ({ object, upstream, detail: DETAILS[trouble] }))
      .sort((a, b) => (`${a.object} ${a.upstream}` < `${b.object} ${b.upstream}` ? -1 : 1));
  }

  #drop(key: string): void {
    this.#told.delete(key);
    this.#entries.delete(key);
  }
}
