// Limiter, CORS: mirrors what upstreams grant to pages of other origins onto the limiter's own answers. In: answers
// of upstreams, and an answer of the limiter to a page; out: its CORS headers. What is not known is asked of the
// upstream, by a preflight.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { RuntimeObject } from '../compile/runtime-object.ts';
import type { RouteMatch, WireRequest } from '../decide/decision.ts';
import { RecentMap } from '../../lib/recent-map.ts';
import { exposedWith, grantingHeaders, grantOf, originOf, type CorsGrant } from './cors.ts';

/** A request of a page, as far as it is known. */
export interface PageRequest {
  readonly request: IncomingMessage;
  readonly requestId: string;
  readonly object: RuntimeObject | undefined;
  readonly match: RouteMatch | undefined;
  readonly wire: Pick<WireRequest, 'path'>;
}

export interface CorsMirrorOptions {
  /** Sends a preflight for a request; resolves with the headers of the answer, or undefined. Must not reject. */
  readonly ask: (page: PageRequest) => Promise<IncomingHttpHeaders | undefined>;
  readonly nowMs: () => number;
  readonly onAsked: (outcome: 'granted' | 'refused' | 'unanswered' | 'skipped') => void;
}

interface Known {
  readonly grant: CorsGrant | undefined;
  readonly untilMs: number;
}

/** Pairs of object and origin that are remembered. */
const MOST_KNOWN = 4_000;
const MOST_QUESTIONS = 16;
const KNOWN_MS = 600_000;
/** No answer came: asked again after this. */
const UNKNOWN_MS = 10_000;

/** Absent fields of `response` mean Mirror. */
export class CorsMirror {
  readonly #options: CorsMirrorOptions;
  readonly #known = new RecentMap<Known>(MOST_KNOWN);
  readonly #questions = new Map<string, Promise<CorsGrant | undefined>>();

  constructor(options: CorsMirrorOptions) {
    this.#options = options;
  }

  /** An upstream answered a request of a page. An answer without a grant changes nothing that is known. */
  saw(page: PageRequest, headers: IncomingHttpHeaders): void {
    const origin = this.#originOf(page);
    if (origin === undefined) return;
    const grant = grantOf(headers, origin);
    const key = keyOf(page, origin);
    if (grant !== undefined) this.#remember(key, grant, KNOWN_MS);
  }

  /** The limiter's headers on an answer of an upstream, with what lets a page read them. */
  exposing(page: PageRequest, own: Readonly<Record<string, string>>, upstream: IncomingHttpHeaders): typeof own {
    if (this.#originOf(page) === undefined) return own;
    const exposed = exposedWith(upstream, Object.keys(own));
    return exposed === undefined ? own : { ...own, 'access-control-expose-headers': exposed };
  }

  /**
   * What an answer of the limiter needs so that a page may read it: at once where it is known, else once the upstream
   * has been asked. Never rejects.
   */
  headersFor(page: PageRequest, names: readonly string[]): Record<string, string> | Promise<Record<string, string>> {
    const origin = this.#originOf(page);
    if (origin === undefined) return {};
    const headersOf = (grant: CorsGrant | undefined): Record<string, string> =>
      grant === undefined ? {} : grantingHeaders(grant, names);
    const key = keyOf(page, origin);
    const known = this.#known.get(key);
    if (known !== undefined && this.#options.nowMs() < known.untilMs) return headersOf(known.grant);
    const question = this.#questions.get(key) ?? this.#ask(page, key, origin);
    return question === undefined ? {} : question.then(headersOf, () => ({}));
  }

  #ask(page: PageRequest, key: string, origin: string): Promise<CorsGrant | undefined> | undefined {
    if (this.#questions.size >= MOST_QUESTIONS) {
      this.#options.onAsked('skipped');
      return undefined;
    }
    const question = this.#answerTo(page, key, origin).finally(() => this.#questions.delete(key));
    this.#questions.set(key, question);
    return question;
  }

  async #answerTo(page: PageRequest, key: string, origin: string): Promise<CorsGrant | undefined> {
    const headers = await this.#options.ask(page);
    const grant = headers === undefined ? undefined : grantOf(headers, origin);
    this.#options.onAsked(headers === undefined ? 'unanswered' : grant === undefined ? 'refused' : 'granted');
    this.#remember(key, grant, headers === undefined ? UNKNOWN_MS : KNOWN_MS);
    return grant;
  }

  #remember(key: string, grant: CorsGrant | undefined, forMs: number): void {
    this.#known.set(key, { grant, untilMs: this.#options.nowMs() + forMs });
  }

  #originOf({ request, object }: PageRequest): string | undefined {
    return object?.config.response.cors === 'Off' ? undefined : originOf(request);
  }
}

/** An object's upstreams, or, where no object is known, those of the place: on a sidecar the server of the own pod. */
function keyOf({ object }: PageRequest, origin: string): string {
  return `${object?.resourceName ?? ''}\n${origin}`;
}
