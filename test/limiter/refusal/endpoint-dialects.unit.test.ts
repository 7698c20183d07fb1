// Trap 56: a path is limited as inference but refused in a form that its SDK cannot read. Every endpoint of the table,
// called over HTTP until its limit refuses, answers in the dialect of that endpoint.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { StandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';
import { endpointOf, examplePaths, type EndpointDialect } from '../../../src/limiter/request/endpoints.ts';
import { limit } from '../fixtures.ts';
import { post, routeTo, startLimiter, startUpstream, type Running } from '../running.ts';
import { HOUR, tokens } from '../store/fixtures.ts';

/** What the clients of a dialect read: the text of the error, and a rate limit header. */
const FORMS: Readonly<Record<EndpointDialect, { readonly body: unknown; readonly header: string }>> = {
  openai: openAi(),
  google: openAi(),
  anthropic: {
    body: { type: 'error', error: { type: 'rate_limit_error', message: said() } },
    header: 'anthropic-ratelimit-requests-limit',
  },
  kserve: problem(),
  ollama: problem(),
  tgi: problem(),
};

function said(): unknown {
  return expect.stringContaining('Rate limit "one" reached');
}

function openAi(): (typeof FORMS)['openai'] {
  return { body: { error: { message: said(), code: 'insufficient_quota' } }, header: 'x-ratelimit-limit-requests' };
}

function problem(): (typeof FORMS)['tgi'] {
  return { body: { error: said(), code: 'rate_limit_exceeded' }, header: 'ratelimit' };
}

let upstream: StandInModel;
let running: Running;

beforeAll(async () => {
  upstream = await startUpstream();
  const limits = [limit({ name: 'one', rule: tokens(1, HOUR) })];
  running = await startLimiter([routeTo(upstream.url, { limits }, { models: ['*'] })]);
  const first = await post(`${running.traffic}/v1/chat/completions`, { model: 'm', messages: [] });
  expect(first.status).toBe(200);
  await first.body?.cancel();
});

afterAll(async () => {
  await running.close();
  await upstream.close();
});

describe('trap 56: a refusal is in the dialect of its endpoint', () => {
  test.each(examplePaths().map((path) => [path]))('%s', async (path) => {
    const dialect = endpointOf('POST', path)?.endpoint.dialect;
    if (dialect === undefined) throw new Error('no endpoint has this path');
    const answer = await post(`${running.traffic}${path}`, { model: 'm' });
    expect(answer.status).toBe(429);
    expect(await answer.json()).toMatchObject(FORMS[dialect].body as object);
    expect(answer.headers.has(FORMS[dialect].header)).toBe(true);
  });
});
