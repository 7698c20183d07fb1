// The endpoint table: which paths run a model, where it is named, and in whose dialect refusals are written.
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  dialectOf,
  endpointOf,
  type EndpointDialect,
  type Metering,
  type ModelNeed,
} from '../../../src/limiter/request/endpoints.ts';

const summary = (method: string, path: string): string => {
  const found = endpointOf(method, path);
  if (found === undefined) return 'none';
  const { dialect, need, metering } = found.endpoint;
  return [dialect, need, metering, ...(found.pathModel === undefined ? [] : [`=${found.pathModel}`])].join(' ');
};

type Expected = `${EndpointDialect} ${ModelNeed} ${Metering}`;

describe('POST', () => {
  test.each<[Expected, ...string[]]>([
    ['openai named tokens', '/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses'],
    ['openai named tokens', '/v1/responses/compact', '/v1/audio/transcriptions', '/v1/audio/translations'],
    ['openai default tokens', '/v1/images/generations', '/v1/images/edits', '/v1/images/variations'],
    ['openai named unmeterable', '/v1/audio/speech', '/v1/chat/completions/batch'],
    ['openai none free', '/v1/responses/resp_1/cancel', '/v1/responses/input_tokens', '/v1/moderations'],
    ['openai none free', '/v1/files', '/v1/conversations/c/items', '/v1/chat/completions/c1', '/v1/batches/b/cancel'],
    ['openai none unmeterable', '/v1/batches', '/v1/fine_tuning/jobs'],
    [
      'openai default unmeterable',
      '/v1/threads/t/runs',
      '/v1/evals/e/runs',
      '/v1/videos/v/remix',
      '/v1/realtime/calls',
    ],
    ['openai default unmeterable', '/inference', '/asr', '/tts', '/v1/sound-generation', '/v1/chat', '/v2/chat'],
    ['openai default unmeterable', '/v1/infer', '/v2/pipelines/p/infer'],
    [
      'openai default tokens',
      '/rerank',
      '/v1/rerank',
      '/v2/rerank',
      '/v1/ranking',
      '/score',
      '/v1/score',
      '/classify',
      '/pooling',
    ],
    ['openai default unmeterable', '/invocations', '/completion', '/infill', '/embedding', '/inference/v1/generate'],
    ['openai none free', '/tokenize', '/detokenize', '/apply-template'],
    ['anthropic named tokens', '/v1/messages'],
    ['anthropic none free', '/v1/messages/count_tokens', '/v1/messages/batches/b/cancel'],
    ['anthropic none unmeterable', '/v1/messages/batches'],
    ['tgi default unmeterable', '/generate', '/generate_stream', '/', '/predict'],
    ['tgi default unmeterable', '/generate_from_file', '/async_generate', '/api/extra/generate/stream'],
    ['ollama named unmeterable', '/api/chat', '/api/generate', '/api/embed', '/api/embeddings'],
    ['ollama none free', '/api/show', '/api/pull'],
    ['kserve none free', '/v2/repository/models/m/load', '/v2/models/m/ready'],
  ])('%s: %s', (expected, ...paths) => {
    expect(paths.map((path) => [path, summary('POST', path)])).toEqual(paths.map((path) => [path, expected]));
  });

  test.each([
    ['/v1/models/m:predict', 'kserve named unmeterable =m'],
    ['/v1/models/m:explain', 'kserve named unmeterable =m'],
    ['/model/m/invoke', 'kserve named unmeterable =m'],
    ['/model/arn:aws:bedrock:x:1:p/m/converse-stream', 'kserve named unmeterable =arn:aws:bedrock:x:1:p/m'],
    ['/models/m.tar.gz/invoke', 'kserve named unmeterable =m.tar.gz'],
    ['/v1/models/org/name:predict', 'kserve named unmeterable =org/name'],
    ['/v1/models/m:latest:predict', 'kserve named unmeterable =m:latest'],
    ['/v1/models/m/versions/2:predict', 'kserve named unmeterable =m'],
    ['/v1/models/m/labels/stable:predict', 'kserve named unmeterable =m'],
    ['/v1/models/versions/2:predict', 'kserve named unmeterable =versions/2'],
    ['/v1/models/m/Versions/2:PREDICT/', 'kserve named unmeterable =m'],
    ['/v1/models/m:predict;v=1', 'kserve named unmeterable =m'],
    ['/v1/models/:predict', 'kserve named unmeterable ='],
    ['/v2/models/m/infer', 'kserve named unmeterable =m'],
    ['/v2/models/m/infer/', 'kserve named unmeterable =m'],
    ['/V2/Models/m/Infer', 'kserve named unmeterable =m'],
    ['/v2/models/m/versions/3/infer', 'kserve named unmeterable =m'],
    ['/v2/models/org/name/versions/3/infer', 'kserve named unmeterable =org/name'],
    ['/v2/models/m/generate', 'kserve named unmeterable =m'],
    ['/v2/models/m/versions/3/generate_stream', 'kserve named unmeterable =m'],
    ['/v2/models/a%25b/infer', 'kserve named unmeterable =a%b'],
    ['/v1beta/models/gemini-pro:streamGenerateContent', 'google named unmeterable =gemini-pro'],
    ['/v1beta/models/gemini-pro:countTokens', 'google named free =gemini-pro'],
    ['/v1/models/m:anyOther', 'kserve named unmeterable =m'],
    ['/openai/deployments/gpt/chat/completions', 'openai named tokens =gpt'],
    ['/openai/deployments/gpt/extensions/chat/completions', 'openai named tokens =gpt'],
    ['/openai/deployments/gpt/other', 'openai named unmeterable =gpt'],
  ])('the path names the model: %s is %s', (path, expected) => {
    expect(summary('POST', path)).toBe(expected);
  });

  test.each(['/health', '/metrics', '/v1/chats', '/v1/messagesx', '/api/v1/x', '/completions/x', '/v1/models2'])(
    'no endpoint: %s',
    (path) => {
      expect(summary('POST', path)).toBe('none');
    },
  );
});

describe('other methods', () => {
  test.each([
    ['PUT', '/generate', 'tgi default unmeterable'],
    ['DELETE', '/v1/chat/completions', 'openai named tokens'],
    ['GET', '/v1/chat/completions', 'openai none free'],
    ['HEAD', '/v1/models/m:predict', 'kserve none free =m'],
    ['OPTIONS', '/v1/messages', 'anthropic none free'],
    ['GET', '/v1/models/llama:latest', 'openai none free'],
    ['GET', '/v1/realtime', 'openai named unmeterable'],
    ['HEAD', '/v1/realtime', 'openai none free'],
    ['GET', '/', 'tgi none free'],
  ])('%s %s: %s', (method, path, expected) => {
    expect(summary(method, path)).toBe(expected);
  });
});

describe('any path', () => {
  const segment = fc.stringMatching(/^[A-Za-z0-9._:~-]{1,8}$/);
  const prefix = fc.array(segment, { maxLength: 4 }).map((segments) => segments.map((each) => `/${each}`).join(''));
  const known = [
    '/v1/chat/completions',
    '/v1/models/m/versions/2:predict',
    '/v2/models/m/infer',
    '/v1/score',
    '/api/chat',
  ];

  test('means the same below any prefix, with a slash at its end, and in any case', () => {
    fc.assert(
      fc.property(prefix, fc.constantFrom(...known), (before, path) => {
        expect(summary('POST', `${before}${path}`)).toBe(summary('POST', path));
        expect(summary('POST', `${before}${path}/`)).toBe(summary('POST', path));
        expect(summary('POST', `${before}${path.toUpperCase()}`).toLowerCase()).toBe(summary('POST', path));
      }),
    );
  });

  test('has the dialect of its endpoint whatever the method', () => {
    for (const path of known) {
      expect(dialectOf(path)).toBe(endpointOf('GET', path)?.endpoint.dialect);
    }
  });

  test('is read in time that grows with its length alone', () => {
    const paths = ['/models', '/v1/models', '/v2/models/m', '/openai/deployments/m', '/versions/1', '/a:b', '/;'];
    for (const part of paths) {
      const path = part.repeat(Math.ceil(64_000 / part.length));
      const start = process.cpuUsage();
      for (let round = 0; round < 10; round += 1) endpointOf('POST', `${path}:predict`);
      const { user } = process.cpuUsage(start);
      expect([part, user / 10 < 50_000]).toEqual([part, true]);
    }
  });
});
