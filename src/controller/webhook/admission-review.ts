// Controller: the API server's question to a webhook, and the answer (admission.k8s.io/v1). Input: the text of a
// review, and what was decided. Output: the pod in question, and the text of the answer.
import type { InjectablePod } from '../../reconcile/injection/pod.ts';
import type { PatchOperation } from '../../reconcile/injection/inject.ts';

/** A pod that is about to be made. */
export interface PodReview {
  readonly uid: string;
  /** The one that it will be made in: a pod need not name it. */
  readonly namespace: string;
  readonly isDryRun: boolean;
  readonly pod: InjectablePod;
}

/** A question that is not about making a pod: answered with yes, and nothing changed. */
export interface OtherReview {
  readonly uid: string;
}

/** A text that is not a review. */
export class ReviewError extends Error {}

const API_VERSION = 'admission.k8s.io/v1';
/** The API server cuts longer ones, and says so in the middle of a word. */
const MAX_WARNING_CHARS = 256;

interface Review {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly request?: ReviewRequest;
}

interface ReviewRequest {
  readonly uid?: unknown;
  readonly namespace?: unknown;
  readonly operation?: unknown;
  readonly subResource?: unknown;
  readonly dryRun?: unknown;
  readonly resource?: { readonly group?: unknown; readonly resource?: unknown };
  readonly object?: { readonly spec?: { readonly containers?: unknown } };
}

/** @throws ReviewError when it is no AdmissionReview of v1 */
export function readReview(text: string): PodReview | OtherReview {
  const { apiVersion, kind, request } = parseJson(text);
  if (apiVersion !== API_VERSION || kind !== 'AdmissionReview')
    throw new ReviewError(`expected a ${API_VERSION} AdmissionReview`);
  const uid = request?.uid;
  if (typeof uid !== 'string' || uid === '') throw new ReviewError('the review has no request with a uid');
  return request !== undefined && isPodReview(request) ? podReview(uid, request) : { uid };
}

function isPodReview({ operation, resource, subResource = '' }: ReviewRequest): boolean {
  return operation === 'CREATE' && resource?.group === '' && resource.resource === 'pods' && subResource === '';
}

function podReview(uid: string, { namespace, dryRun, object }: ReviewRequest): PodReview {
  if (typeof namespace !== 'string' || !Array.isArray(object?.spec?.containers)) {
    throw new ReviewError('the review of a pod lacks its namespace or its containers');
  }
  return { uid, namespace, isDryRun: dryRun === true, pod: object as InjectablePod };
}

function parseJson(text: string): Review {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch (error) {
    throw new ReviewError('the body is not JSON', { cause: error });
  }
}

/** Always a yes: Weir limits pods, it never forbids them. */
export function formatAnswer(uid: string, patch: readonly PatchOperation[], warnings: readonly string[]): string {
  const response = {
    uid,
    allowed: true,
    ...(patch.length === 0
      ? {}
      : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
    ...(warnings.length === 0 ? {} : { warnings: warnings.map(shorten) }),
  };
  return JSON.stringify({ apiVersion: API_VERSION, kind: 'AdmissionReview', response });
}

function shorten(warning: string): string {
  return warning.length <= MAX_WARNING_CHARS ? warning : `${warning.slice(0, MAX_WARNING_CHARS - 1)}…`;
}
