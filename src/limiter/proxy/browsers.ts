// Limiter, proxy: requests of pages in browsers. In: a preflight, or an answer of the limiter to a page of another
// origin; out: the upstream's word on both: who may ask is not ours to say.
import type { IncomingHttpHeaders } from 'node:http';
import type { RouteMatch } from '../decide/decision.ts';
import { pathBelow } from '../../lib/values/path.ts';
import type { RuntimeObject } from '../compile/runtime-object.ts';
import { seenBy } from '../identity/identity.ts';
import type { BodyHold } from '../request/body-budget.ts';
import { RequestBody } from '../request/body.ts';
import { preflightHeaders } from '../cors/cors.ts';
import { CorsMirror, type PageRequest } from '../cors/cors-mirror.ts';
import type { Exchange } from './exchange.ts';
import type { Incoming, RequestHead } from './incoming.ts';
import type { ProxyOptions } from './proxy-options.ts';

const EMPTY = Buffer.alloc(0);
/** What is read of a request without a body. */
const NO_CONTENT: Pick<Incoming, 'json' | 'rpc'> = {
  json: { kind: 'empty' },
  rpc: { isJsonRpc: false, isBatch: false, ids: [] },
};

export type BrowsersOptions = Pick<
  ProxyOptions,
  'inForce' | 'configured' | 'forwarder' | 'metrics' | 'clock' | 'ownTarget' | 'random'
>;

export class Browsers {
  readonly cors: CorsMirror;
  readonly #options: BrowsersOptions;

  constructor(options: BrowsersOptions) {
    this.#options = options;
    this.cors = new CorsMirror({
      ask: (page) => this.#ask(page),
      nowMs: () => options.clock.monotonicMs(),
      onAsked: (outcome) => {
        options.metrics.corsAsked(outcome);
      },
    });
  }

  /**
   * Passes a preflight to the upstream of the request that it announces, whoever asks and whatever is left of a
   * limit; nothing is counted.
   * @returns false: no object has this place
   * @throws WeirError as forwarding does
   */
  async pass(exchange: Exchange, { wire, search }: RequestHead, hold: BodyHold): Promise<boolean> {
    const { configured, forwarder, random } = this.#options;
    await configured.whenDecided();
    const inForce = this.#options.inForce();
    const method = wire.headers['access-control-request-method'] ?? '';
    const resolution = inForce.set.index.resolve({ ...wire, method }, random);
    const { object } = resolution.kind === 'unclaimed' ? {} : resolution;
    const match = resolution.kind === 'matched' ? resolution.match : this.#anyMatch(object, wire.path);
    if (object === undefined || match === undefined) return false;
    exchange.object = object;
    await forwarder.forward({
      exchange,
      incoming: { wire, search, body: new RequestBody(EMPTY, EMPTY, hold), ...NO_CONTENT },
      match,
      namespace: object.config.namespace,
      rawHeaders: preflightHeaders(exchange.request.rawHeaders),
      strip: object.identity?.headerNames ?? [],
      isTrustedProxy: (resolution.kind === 'matched' ? resolution.seen : seenBy(object, wire)).isTrustedProxy,
      inForce,
      ownHeaders: {},
    });
    return true;
  }

  #ask(page: PageRequest): Promise<IncomingHttpHeaders | undefined> {
    const { object, wire } = page;
    const match = page.match ?? this.#anyMatch(object, wire.path);
    if (match === undefined) return Promise.resolve(undefined);
    const namespace = object === undefined ? {} : { namespace: object.config.namespace };
    return this.#options.forwarder.askCors({ page, match, inForce: this.#options.inForce(), ...namespace });
  }

  /** Where requests of an object go of which no rule is known; without an object, to a sidecar's own server. */
  #anyMatch(object: RuntimeObject | undefined, path: string): RouteMatch | undefined {
    const targets = object?.routing.rules.flatMap((rule) => rule.targets).filter(({ weight }) => weight > 0);
    const target = targets?.[0] ?? this.#options.ownTarget;
    if (target === undefined || path === '') return undefined;
    return { target, ruleName: '', upstreamPath: pathBelow(object?.routing.pathPrefix ?? '/', path) ?? path };
  }
}
