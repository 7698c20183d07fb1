// Limiter, decision API: limits for callers that do not send their traffic through the proxy. In: JSON over HTTP
// (described by docs/openapi.yaml); out: decisions as values with status 200, errors with their own status.
import { createHash, randomUUID } from 'node:crypto';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../lib/clock.ts';
import { ERRORS, WeirError } from '../../lib/errors.ts';
import { requestIdOf } from '../../lib/http/request-id.ts';
import type { InternalErrors } from '../internal-errors.ts';
import { inTime } from '../request/reading-deadline.ts';
import type { Configured } from '../config/configured.ts';
import type { Decider } from '../decide/decide.ts';
import type { Ask } from '../decide/plan.ts';
import { AS_RESERVED, requestsEstimate, type Ending } from '../decide/usage.ts';
import {
  decideAnswer,
  errorAnswer,
  explainAnswer,
  unauthenticatedAnswer,
  UNCLAIMED,
  type Answer,
} from './decision-answers.ts';
import {
  DECIDE_SCHEMA,
  EXPLAIN_SCHEMA,
  REPORT_SCHEMA,
  SETTLE_SCHEMA,
  type DecideBody,
  type ReportBody,
  type SettleBody,
  type SubjectBody,
} from './decision-schemas.ts';
import { ReservationRegistry } from './reservation-registry.ts';
import { subjectOf, type Subject } from './decision-subject.ts';
import type { Owner, TokenFile } from './decision-token.ts';
import { pathOf, sendJson } from '../../lib/http/http-listener.ts';
import type { LimiterMetrics } from '../metrics.ts';
import type { BodyBudget, BodyHold } from '../request/body-budget.ts';
import { readBody } from '../request/body.ts';
import { readContent } from '../request/content.ts';
import { mediaTypeOf } from '../request/media-type.ts';
import type { RuntimeSet } from '../compile/runtime-set.ts';
import { StoreUnavailable } from '../store/store.ts';
import { hasRepeatedMember } from './repeated-members.ts';

export interface DecisionApiOptions {
  readonly inForce: () => { readonly set: RuntimeSet };
  readonly configured: Configured;
  readonly decider: Decider;
  /** Must not throw. */
  readonly metrics: LimiterMetrics;
  readonly errors: InternalErrors;
  /** From a request's headers to the end of its body. */
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  readonly bodyBudget: BodyBudget;
  readonly bodyIdleMs: number;
  /** Absent: whoever reaches the listener (loopback alone) is one and the same owner. */
  readonly tokens?: TokenFile;
  /** Reservations that wait for their settlement; beyond it the oldest stay charged. */
  readonly maxPending?: number;
}

const MAX_BODY_BYTES = 1024 * 1024;
/** Of a body's problems, how many an answer names. */
const MAX_PROBLEMS = 20;
const DEFAULT_MAX_PENDING = 100_000;
const LOOPBACK: Owner = 'loopback';

type Operation = (body: never, owner: Owner) => Promise<Answer>;

interface Validators {
  readonly decide: ValidateFunction;
  readonly settle: ValidateFunction;
  readonly report: ValidateFunction;
  readonly explain: ValidateFunction;
}

let compiled: Validators | undefined;

/** Compiled by the first decision API of a process, for all of them. */
function validators(): Validators {
  compiled ??= compileValidators();
  return compiled;
}

function compileValidators(): Validators {
  const ajv = new Ajv({ allErrors: true, strict: true });
  return {
    decide: ajv.compile(DECIDE_SCHEMA),
    settle: ajv.compile(SETTLE_SCHEMA),
    report: ajv.compile(REPORT_SCHEMA),
    explain: ajv.compile(EXPLAIN_SCHEMA),
  };
}

interface Route {
  readonly validate: ValidateFunction;
  readonly run: Operation;
}

export class DecisionApi {
  readonly #options: DecisionApiOptions;
  readonly #reservations: ReservationRegistry;
  readonly #routes: ReadonlyMap<string, Route>;

  constructor(options: DecisionApiOptions) {
    this.#options = options;
    const maxPending = options.maxPending ?? DEFAULT_MAX_PENDING;
    this.#reservations = new ReservationRegistry(maxPending, () => options.clock.monotonicMs());
    const { decide, settle, report, explain } = validators();
    this.#routes = new Map<string, Route>([
      ['/v1/decide', { validate: decide, run: this.#decide.bind(this) }],
      ['/v1/settle', { validate: settle, run: this.#settle.bind(this) }],
      ['/v1/report', { validate: report, run: this.#report.bind(this) }],
      ['/v1/explain', { validate: explain, run: this.#explain.bind(this) }],
    ]);
  }

  /** The paths served; all take POST. */
  get paths(): readonly string[] {
    return [...this.#routes.keys()];
  }

  /** Serves one request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      sendJson(response, 200, await this.#serve(request));
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  async #serve(request: IncomingMessage): Promise<Answer> {
    const route = this.#routes.get(pathOf(request));
    if (route === undefined) throw new WeirError('not_found', `no such path: POST ${this.paths.join(', POST ')}`);
    if (request.method !== 'POST') throw new WeirError('invalid_request', 'the method must be POST');
    const owner = this.#ownerOf(request);
    const { bodyBudget, requestTimeoutMs } = this.#options;
    const hold = bodyBudget.open();
    const body = await inTime(this.#bodyOf(request, hold), requestTimeoutMs).finally(() => {
      hold.release();
    });
    if (!route.validate(body)) throw new WeirError('invalid_request', problemsOf(route.validate.errors ?? []));
    await this.#options.configured.whenDecided();
    return route.run(body as never, owner);
  }

  async #bodyOf(request: IncomingMessage, hold: BodyHold): Promise<unknown> {
    const bounds = { maxBytes: MAX_BODY_BYTES, idleMs: this.#options.bodyIdleMs };
    const { decoded } = await readBody(request, bounds, hold);
    const { json } = await readContent(decoded, mediaTypeOf(request.rawHeaders), false);
    if (json.kind === 'ambiguous') throw new WeirError(json.code ?? 'invalid_request', json.problem);
    if (json.kind !== 'json') throw new WeirError('invalid_request', 'the body is not JSON');
    const text = decoded.toString();
    const value: unknown = JSON.parse(text);
    if (hasRepeatedMember(text, value)) throw new WeirError('invalid_request', 'an object names a member twice');
    return value;
  }

  #ownerOf(request: IncomingMessage): Owner {
    // A web page may reach loopback through its visitor's browser, which says so.
    if (request.headers.origin !== undefined) throw new WeirError('unauthorized', 'not for web pages');
    const { tokens } = this.#options;
    const owner = tokens === undefined ? LOOPBACK : tokens.ownerOf(request);
    if (owner === undefined) throw new WeirError('unauthorized');
    return owner;
  }

  async #decide(body: DecideBody, owner: Owner): Promise<Answer> {
    const subject = this.#subject(body);
    if (subject === undefined) return UNCLAIMED;
    const { decider, clock, metrics } = this.#options;
    const id = randomUUID();
    if (lacksIdentity(subject)) return unauthenticatedAnswer(subject, id);
    const sets = [subject.object.limitSet];
    const asks = [askOf(subject, body)];
    if (body.mode === 'peek') return decideAnswer(subject, await decider.peek(sets, asks), id, clock.nowMicros());
    const start = clock.monotonicMs();
    const { decision, admission } = await decider.decide(sets, asks, id);
    const answer = decideAnswer(subject, decision, id, clock.nowMicros());
    metrics.decided(subject.object.resourceName, decision, (clock.monotonicMs() - start) / 1000);
    if (decision.kind !== 'allowed') return answer;
    this.#reservations.add(id, owner, admission);
    return { ...answer, reservation: id };
  }

  async #settle({ reservation, hits }: SettleBody, owner: Owner): Promise<Answer> {
    const outcome = await this.#reservations.settle(reservation, owner, endingOf(hits));
    switch (outcome) {
      case 'settled':
        return { settled: true, outcome };
      case 'repeated':
        return { settled: false, outcome };
      case 'unknown':
        throw new WeirError('unknown_reservation');
      case 'unavailable':
        throw new WeirError('store_unavailable', 'the store did not take the settlement: it stays charged');
      case 'failed':
        throw new WeirError('internal_error');
    }
  }

  async #report(body: ReportBody, owner: Owner): Promise<Answer> {
    const subject = this.#subject(body);
    if (subject === undefined) return { reported: true, outcome: 'reported' };
    const id = body.id === undefined ? randomUUID() : ownedId(owner, body.id);
    const isFirst = await this.#options.decider.report(subject.object.limitSet, askOf(subject, body), id);
    return { reported: isFirst, outcome: isFirst ? 'reported' : 'repeated' };
  }

  async #explain(body: SubjectBody): Promise<Answer> {
    const subject = this.#subject(body);
    if (subject === undefined) return { decision: 'allowed', object: null, limits: [] };
    const { decider } = this.#options;
    const explanations = decider.explain(subject.object.limitSet, subject.facts);
    const decision = await decider.peek([subject.object.limitSet], [askOf(subject, body)]);
    return explainAnswer(subject, explanations, decision);
  }

  #subject(body: SubjectBody): Subject | undefined {
    return subjectOf(body, this.#options.inForce().set);
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const fault = faultOf(error);
    // A settlement that failed was noted there.
    if (fault.code === 'internal_error' && !(error instanceof WeirError))
      this.#options.errors.note('decision_api', error, { requestId: requestIdOf(request) });
    sendJson(response, ERRORS[fault.code].status, errorAnswer(fault.code, fault.message));
  }
}

function faultOf(error: unknown): WeirError {
  if (error instanceof WeirError) return error;
  if (error instanceof StoreUnavailable)
    return new WeirError('store_unavailable', 'the rate limit store does not answer');
  return new WeirError('internal_error');
}

/** The first problems at once, each with its field. */
function problemsOf(errors: readonly ErrorObject[]): string {
  const texts = errors.slice(0, MAX_PROBLEMS).map(({ instancePath, message, params }) => {
    const name = 'additionalProperty' in params ? ` "${String(params['additionalProperty'])}"` : '';
    const field = instancePath.slice(1).replaceAll('/', '.');
    return `${field === '' ? 'body' : field}: ${message ?? 'is not valid'}${name}`;
  });
  const more = errors.length - texts.length;
  return `${texts.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
}

function lacksIdentity({ object, facts: { identity } }: Subject): boolean {
  if (object.identity?.required !== true) return false;
  const hasAttributes = Object.keys(identity.attributes).length > 0;
  return identity.user === undefined && identity.application === undefined && !hasAttributes;
}

function askOf({ facts }: Subject, { hits = 1 }: { readonly hits?: number }): Ask {
  return { facts, estimate: requestsEstimate(hits) };
}

function endingOf(hits: number | undefined): Ending {
  return hits === undefined ? AS_RESERVED : { kind: 'used', usage: { requests: hits }, source: 'reported' };
}

/** Ids of different owners never meet, and none meets an id that the limiter makes. */
function ownedId(owner: Owner, id: string): string {
  return `report-${createHash('sha256').update(`${owner.length}:${owner}${id}`).digest('base64url')}`;
}
