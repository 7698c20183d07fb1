// Which model a request names: "absent" has one meaning, and the path comes before the query, and that before the body.
import { describe, expect, test } from '@jest/globals';
import { asRecord, readJsonBody } from '../../../src/limiter/request/json-body.ts';
import { isInferencePath, modelName, modelsOf } from '../../../src/limiter/request/model-request.ts';

const memberOf = (body: string): unknown => {
  const json = readJsonBody(Buffer.from(body));
  return json.kind === 'json' ? json.value : undefined;
};
const read = (url: string, body: string, method = 'POST'): string | undefined => {
  const { pathname, searchParams } = new URL(url, 'http://h');
  return modelsOf({ method, path: pathname, query: searchParams }, asRecord(memberOf(body))?.['model']).model;
};

describe('the model of a request', () => {
  test.each([
    ['/v1/chat/completions', 'in-body'],
    ['/v1/models/sklearn-iris:predict', 'sklearn-iris'],
    ['/any/v1/models/org/name:predict', 'org/name'],
    ['/v1/models/m/versions/2:predict', 'm'],
    ['/v2/models/resnet/infer', 'resnet'],
    ['/v2/models/resnet/versions/3/infer', 'resnet'],
    ['/v2/models/a%25b/infer', 'a%b'],
    ['/openai/deployments/gpt/chat/completions', 'gpt'],
    ['/v1/models/in-list', 'in-body'],
    ['/unknown', 'in-body'],
  ])('of %s is %s', (path, model) => {
    expect(read(path, '{"model":"in-body"}')).toBe(model);
  });

  test('of a WebSocket is in its query, once', () => {
    expect(read('/v1/realtime?model=m', '', 'GET')).toBe('m');
    expect(read('/v1/realtime?model=m&model=n', '', 'GET')).toBeUndefined();
    expect(read('/v1/chat/completions?model=m', '{}')).toBeUndefined();
  });

  test.each([
    '{"model":""}',
    '{"model":" \\t\\n"}',
    '{"model":"\\u00a0"}',
    '{"model":null}',
    '{"model":7}',
    '{"model":["m"]}',
    '{"model":{"id":"m"}}',
    '{"model":true}',
    '{}',
    '["model"]',
    '"m"',
    '',
    'model=m',
  ])('is absent in %s', (body) => {
    expect(read('/v1/chat/completions', body)).toBeUndefined();
  });

  test.each([
    [' m ', 'm'],
    ['\tm\n', 'm'],
    ['', undefined],
    ['  ', undefined],
    [undefined, undefined],
  ])('%j is %j', (given, name) => {
    expect(modelName(given)).toBe(name);
  });

  test('is absent in a path that leaves it out', () => {
    expect(read('/v1/models/:predict', '{"model":"in-body"}')).toBeUndefined();
    expect(read('/v1/models/%20:predict', '{"model":"in-body"}')).toBeUndefined();
  });
});

test('paths where a model runs, after any prefix', () => {
  for (const path of ['/v1/chat/completions', '/openai/v1/embeddings/', '/v1/messages', '/generate', '/v1/score']) {
    expect([path, isInferencePath('POST', path), isInferencePath('GET', path)]).toEqual([path, true, false]);
  }
  for (const path of ['/health', '/v1/models', '/metrics', '/v1/files', '/tokenize']) {
    expect([path, isInferencePath('POST', path)]).toEqual([path, false]);
  }
});
