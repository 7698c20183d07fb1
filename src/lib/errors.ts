// Lib: the one table of error codes that callers of a limiter can meet; docs/reference/errors.md is generated from it.

/** What a code means over HTTP. `message` is the default text; a reply may say more, never less. */
export interface ErrorCode {
  readonly status: number;
  readonly message: string;
  /** What the caller or the operator can do about it; printed in docs/reference/errors.md. */
  readonly fix: string;
}

export const ERRORS = {
  rate_limit_exceeded: {
    status: 429,
    message: 'rate limit exceeded',
    fix: 'Wait for Retry-After, then send the request again.',
  },
  limit_blocked: {
    status: 403,
    message: 'blocked: this limit is 0',
    fix: 'Ask the owner of the object: a limit of 0 is a kill switch.',
  },
  exceeds_capacity: {
    status: 400,
    message: 'this request can never fit the limit',
    fix: 'Send a smaller request, or ask the owner to raise the limit.',
  },
  store_unavailable: {
    status: 503,
    message: 'the rate limit store does not answer and failurePolicy refuses the request',
    fix: 'Retry after Retry-After; operators: see the condition Degraded of the object.',
  },
  unauthenticated: {
    status: 401,
    message: 'no identity: authentication is required',
    fix: 'Send credentials that the object accepts.',
  },
  not_found: { status: 404, message: 'no route takes this request', fix: 'Check path, host and model name.' },
  model_not_found: { status: 404, message: 'the model does not exist on this route', fix: 'Check the model name.' },
  body_too_large: { status: 413, message: 'the request body is too large', fix: 'Send a smaller body.' },
  unsupported_encoding: {
    status: 415,
    message: 'the request body has an encoding that cannot be read',
    fix: 'Send the body as identity, gzip, deflate, br or zstd.',
  },
  unsupported_media_type: {
    status: 415,
    message: 'the request body is not in UTF-8, or its Content-Type is malformed',
    fix: 'Send JSON in UTF-8 with one Content-Type, application/json.',
  },
  body_timeout: {
    status: 408,
    message: 'the request body did not come in time',
    fix: 'Send the body without pauses; operators: see --body-idle-timeout.',
  },
  over_capacity: {
    status: 503,
    message: 'this limiter holds as many request bodies as it has room for',
    fix: 'Retry after Retry-After; operators: see --body-budget, or add limiters.',
  },
  upgrade_required: { status: 426, message: 'a limited request cannot be upgraded', fix: 'Send it as plain HTTP.' },
  invalid_request: {
    status: 400,
    message: 'the request is malformed',
    fix: 'Correct the request as the message says.',
  },
  request_timeout: {
    status: 408,
    message: 'the request did not arrive in time',
    fix: 'Send it faster; operators: raise --request-headers-timeout or --request-timeout.',
  },
  expectation_failed: {
    status: 417,
    message: 'the Expect header asks for something that is not supported',
    fix: 'Send Expect: 100-continue, or no Expect header.',
  },
  headers_too_large: {
    status: 431,
    message: 'the request headers are too large',
    fix: 'Send fewer or shorter headers; operators: raise --max-header-bytes or --max-headers.',
  },
  method_not_supported: {
    status: 501,
    message: 'the method is not supported',
    fix: 'Send the request to the server itself: no tunnels are opened here.',
  },
  http_version_not_supported: {
    status: 505,
    message: 'the HTTP version is not supported',
    fix: 'Use HTTP/1.1.',
  },
  header_mismatch: {
    status: 400,
    message: 'Mcp-Method or Mcp-Name header differs from the body',
    fix: 'Send headers that name what the body names.',
  },
  upstream_unreachable: {
    status: 502,
    message: 'the upstream cannot be reached',
    fix: 'Check the target of the route.',
  },
  upstream_timeout: {
    status: 504,
    message: 'the upstream did not answer in time',
    fix: 'Check the target of the route.',
  },
  invalid_upstream_answer: {
    status: 502,
    message: 'the upstream sent an answer that is not valid HTTP',
    fix: 'Check the server of the route: the message says what is wrong with its answer.',
  },
  egress_refused: {
    status: 502,
    message: 'the target resolves to an address that this limiter may not dial',
    fix: 'Add the address range to the egress allow list of the operator.',
  },
  unconfigured: {
    status: 503,
    message: 'this limiter has no configuration yet',
    fix: 'Wait for the operator, or set unconfiguredPolicy to Pass.',
  },
  unknown_reservation: {
    status: 404,
    message: 'no such reservation',
    fix: 'Settle within 10 minutes, at the limiter that decided.',
  },
  unauthorized: { status: 401, message: 'a bearer token is required here', fix: 'Send the decision API token.' },
  internal_error: {
    status: 500,
    message: 'internal error',
    fix: "Report it with the x-request-id; the limiter's log has the cause.",
  },
  draining: { status: 503, message: 'this limiter is shutting down', fix: 'Retry: another limiter will answer.' },
} as const satisfies Record<string, ErrorCode>;

export type ErrorName = keyof typeof ERRORS;

/** An error with a code of the table: for faults, never for decisions (a refusal is a value). */
export class WeirError extends Error {
  readonly code: ErrorName;

  constructor(code: ErrorName, message?: string) {
    super(message ?? ERRORS[code].message);
    this.name = 'WeirError';
    this.code = code;
  }
}
