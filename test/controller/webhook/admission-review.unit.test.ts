// The API server's question and the answer to it: what is taken for a pod that is about to be made, and what never is.
import { describe, expect, test } from '@jest/globals';
import { formatAnswer, readReview, ReviewError } from '../../../src/controller/webhook/admission-review.ts';

const request = {
  uid: 'u1',
  namespace: 'demo',
  operation: 'CREATE',
  resource: { group: '', version: 'v1', resource: 'pods' },
  object: { metadata: { generateName: 'chat-' }, spec: { containers: [{ name: 'main' }] } },
};
const review = (more: object = {}, head: object = {}): string =>
  JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: { ...request, ...more },
    ...head,
  });

describe('a question', () => {
  test('about a pod has the namespace that it will be made in, which the pod need not name', () => {
    expect(readReview(review())).toEqual({ uid: 'u1', namespace: 'demo', isDryRun: false, pod: request.object });
    expect(readReview(review({ dryRun: true }))).toMatchObject({ isDryRun: true });
  });

  test.each([
    ['an update', { operation: 'UPDATE' }],
    ['a deletion, which has no object', { operation: 'DELETE', object: null }],
    ['a subresource', { subResource: 'ephemeralcontainers' }],
    ['another resource', { resource: { group: 'apps', version: 'v1', resource: 'deployments' } }],
    ['pods of another group', { resource: { group: 'metrics.k8s.io', version: 'v1', resource: 'pods' } }],
  ])('about %s is answered without a pod', (_name, more) => {
    expect(readReview(review(more))).toEqual({ uid: 'u1' });
  });

  test.each([
    ['no JSON', '{"apiVersion":', 'the body is not JSON'],
    ['nothing', '', 'the body is not JSON'],
    ['null', 'null', 'AdmissionReview'],
    ['a list', '[]', 'AdmissionReview'],
    ['of an older version', review({}, { apiVersion: 'admission.k8s.io/v1beta1' }), 'expected a admission.k8s.io/v1'],
    ['without a request', review({}, { request: undefined }), 'no request with a uid'],
    ['without a uid', review({ uid: '' }), 'no request with a uid'],
    ['with a number for a uid', review({ uid: 7 }), 'no request with a uid'],
    ['of a pod without a namespace', review({ namespace: undefined }), 'lacks its namespace'],
    ['of a pod without containers', review({ object: { spec: {} } }), 'or its containers'],
    ['of a pod whose containers are none', review({ object: { spec: { containers: 'x' } } }), 'or its containers'],
  ])('%s is none', (_name, text, message) => {
    expect(() => readReview(text)).toThrow(ReviewError);
    expect(() => readReview(text)).toThrow(message);
  });
});

describe('an answer', () => {
  const responseOf = (text: string): Record<string, unknown> =>
    (JSON.parse(text) as { response: Record<string, unknown> }).response;

  test('always admits; without a change or a warning it has neither member', () => {
    expect(JSON.parse(formatAnswer('u1', [], []))).toEqual({
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      response: { uid: 'u1', allowed: true },
    });
  });

  test('carries the patch in base64, whatever its characters', () => {
    const patch = [{ op: 'add', path: '/metadata/annotations', value: { a: 'Grüße' } }] as const;
    const response = responseOf(formatAnswer('u1', patch, []));
    expect(response['patchType']).toBe('JSONPatch');
    expect(JSON.parse(Buffer.from(String(response['patch']), 'base64').toString('utf8'))).toEqual(patch);
  });

  test('has no warning that the API server would cut', () => {
    const { warnings } = responseOf(formatAnswer('u1', [], ['short', 'x'.repeat(256), 'y'.repeat(257)]));
    expect(warnings).toEqual(['short', 'x'.repeat(256), `${'y'.repeat(255)}…`]);
  });
});
