// The clients that people use, through the proxy: what passes works, unary and streaming, and a refusal is the error
// that each client has for it.
import Anthropic from '@anthropic-ai/sdk';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import type { StandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';
import { MINUTE, tokens } from '../store/fixtures.ts';
import { limit } from '../fixtures.ts';
import { routeTo, startLimiter, startUpstream, type Running } from '../running.ts';

let upstream: StandInModel;
let running: Running;
let openai: OpenAI;
let anthropic: Anthropic;

const start = async (amount: number): Promise<void> => {
  running = await startLimiter([routeTo(upstream.url, { limits: [limit({ rule: tokens(amount, MINUTE) })] })]);
  openai = new OpenAI({ baseURL: `${running.traffic}/v1`, apiKey: 'none', maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: running.traffic, apiKey: 'none', maxRetries: 0 });
};
beforeEach(async () => {
  upstream = await startUpstream();
});
afterEach(async () => {
  await running.close();
  await upstream.close();
});

const messages = [{ role: 'user' as const, content: 'hi' }];

describe('the openai client', () => {
  test('reads every kind of answer', async () => {
    await start(10);
    const chat = await openai.chat.completions.create({ model: 'm', messages });
    expect(chat.choices[0]?.message.content).toBe('Hello from the stand-in model.');
    let text = '';
    const stream = await openai.chat.completions.create({ model: 'm', messages, stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    expect(text).toBe('Hello from the stand-in model.');
    expect((await openai.embeddings.create({ model: 'm', input: ['a', 'b'] })).data).toHaveLength(2);
    expect((await openai.completions.create({ model: 'm', prompt: 'a' })).choices).toHaveLength(1);
    expect((await openai.responses.create({ model: 'm', input: 'a' })).output_text).toBe(
      'Hello from the stand-in model.',
    );
    const events: string[] = [];
    for await (const event of await openai.responses.create({ model: 'm', input: 'a', stream: true }))
      events.push(event.type);
    expect(events.at(-1)).toBe('response.completed');
    expect(upstream.count()).toBe(6);
  });

  test('throws its RateLimitError, with the wait', async () => {
    await start(1);
    await openai.chat.completions.create({ model: 'm', messages });
    const error: unknown = await openai.chat.completions
      .create({ model: 'm', messages })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    const { status, code, type, headers } = error as InstanceType<typeof OpenAI.RateLimitError>;
    expect([status, code, type]).toEqual([429, 'rate_limit_exceeded', 'requests']);
    expect(headers.get('retry-after')).toBe('60');
    expect(headers.get('x-ratelimit-limit-requests')).toBe('1');
    expect(upstream.count()).toBe(1);
  });
});

describe('the anthropic client', () => {
  test('reads whole and streamed messages', async () => {
    await start(10);
    const whole = await anthropic.messages.create({ model: 'm', max_tokens: 10, messages });
    expect(whole.content[0]).toMatchObject({ type: 'text', text: 'Hello from the stand-in model.' });
    const stream = anthropic.messages.stream({ model: 'm', max_tokens: 10, messages });
    expect((await stream.finalMessage()).usage.output_tokens).toBe(5);
    expect((await anthropic.messages.countTokens({ model: 'm', messages })).input_tokens).toBeGreaterThan(0);
    expect(upstream.count()).toBe(3);
  });

  test('throws its RateLimitError', async () => {
    await start(1);
    const create = (): Promise<unknown> => anthropic.messages.create({ model: 'm', max_tokens: 10, messages });
    await create();
    const error: unknown = await create().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Anthropic.RateLimitError);
    expect((error as InstanceType<typeof Anthropic.RateLimitError>).error).toMatchObject({
      type: 'error',
      error: { type: 'rate_limit_error' },
    });
  });
});
