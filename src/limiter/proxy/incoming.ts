// Limiter, proxy: reads a whole request once. In: node's incoming message; out: what routing, limits and the upstream
// need of it, each read one way only.
import type { IncomingMessage } from 'node:http';
import { WeirError } from '../../lib/errors.ts';
import type { WireRequest } from '../decide/decision.ts';
import { normalisePath } from '../../lib/values/path.ts';
import { requestIdOf } from '../../lib/http/request-id.ts';
import type { BodyHold } from '../request/body-budget.ts';
import { readBody, type BodyBounds, type RequestBody } from '../request/body.ts';
import { readContent } from '../request/content.ts';
import { asRecord, type JsonBody } from '../request/json-body.ts';
import { jsonRpcFacts, type JsonRpcFacts } from '../request/mcp-request.ts';
import { mediaTypeOf } from '../request/media-type.ts';
import { isInferencePath, modelName, modelsOf } from '../request/model-request.ts';
import { headerSource, readHeaders, unclearQuery } from '../request/one-value.ts';
import { readRequestTarget } from '../request/request-target.ts';

/** A request, read. */
export interface Incoming {
  readonly wire: WireRequest;
  /** The query with its "?", as it came; '' when there is none. */
  readonly search: string;
  readonly body: RequestBody;
  readonly json: JsonBody;
  readonly rpc: JsonRpcFacts;
}

/** What is known of a request before its body is read: enough to answer an error in the caller's dialect. */
export interface RequestHead {
  readonly wire: WireRequest;
  readonly search: string;
  readonly requestId: string;
}

const HOST = headerSource('host');

/** Reads the request line and headers. @throws WeirError invalid_request for a path that servers read differently */
export function readHead(request: IncomingMessage): RequestHead {
  const { headers, unclear } = readHeaders(request.rawHeaders);
  const target = readRequestTarget(request.url ?? '/', headers['host']);
  const path = target.path === '*' ? '*' : normalisePath(target.path);
  if (path === undefined) throw new WeirError('invalid_request', 'the path holds characters that servers disagree on');
  const session = headers['mcp-session-id'];
  const query = new URLSearchParams(target.search);
  const wire: WireRequest = {
    method: request.method ?? 'GET',
    host: target.host,
    path,
    query,
    headers,
    unclear: new Set([...unclear, ...unclearQuery(query), ...(target.hasTwoHosts ? [HOST] : [])]),
    peerAddress: request.socket.remoteAddress ?? '',
    ...(session === undefined ? {} : { session }),
  };
  return { wire, search: target.search, requestId: requestIdOf(request) };
}

/**
 * Reads the body and what it names.
 * @param hold counts the body; it is the caller's to release
 * @throws WeirError as readBody does
 */
export async function readIncoming(
  request: IncomingMessage,
  head: RequestHead,
  bounds: BodyBounds,
  hold: BodyHold,
): Promise<Incoming> {
  const body = await readBody(request, bounds, hold);
  const { method, path } = head.wire;
  const isForm = isInferencePath(method, path);
  const { json, formModel } = await readContent(body.decoded, mediaTypeOf(request.rawHeaders), isForm);
  const named = modelsOf(head.wire, json.kind === 'json' ? asRecord(json.value)?.['model'] : undefined);
  const model = named.model ?? modelName(formModel);
  const { tool, ...rpc } = jsonRpcFacts(json);
  const wire: WireRequest = {
    ...head.wire,
    ...named,
    ...(model === undefined ? {} : { model }),
    ...(tool === undefined ? {} : { tool }),
  };
  return { wire, search: head.search, body, json, rpc };
}
