// CLI, stand-in model: what a model server would say. In: path and parsed body of a request; out: the pieces of an
// answer in the shape of OpenAI, Anthropic or JSON-RPC (MCP). Deterministic: one token per word, four characters of
// input each.

/** An answer, whole or as the server-sent events of a stream. */
export type StandInAnswer =
  | {
      readonly kind: 'json';
      readonly status: number;
      readonly body: unknown;
      readonly headers?: Record<string, string>;
    }
  | { readonly kind: 'events'; readonly events: readonly string[] };

type Body = Readonly<Record<string, unknown>>;
type Answerer = (body: Body, model: string) => StandInAnswer;

const WORDS = ['Hello', ' from', ' the', ' stand-in', ' model.'];
const TEXT = WORDS.join('');

/** The answer to a request; 404 in OpenAI's shape for a path that no model server has. */
export function answerOf(path: string, body: Body | readonly Body[]): StandInAnswer {
  if (isBatch(body)) return mcpBatch(body);
  if (body['jsonrpc'] === '2.0') return mcpAnswer(body);
  const model = typeof body['model'] === 'string' ? body['model'] : 'stand-in';
  const answerer = ANSWERERS.find(([suffix]) => path.endsWith(suffix))?.[1];
  if (answerer !== undefined) return answerer(body, model);
  if (/:predict$|\/infer$/.test(path)) return json({ predictions: [1], model_name: model });
  return json(
    { error: { message: `no such path: ${path}`, type: 'invalid_request_error', param: null, code: null } },
    404,
  );
}

const ANSWERERS: readonly (readonly [suffix: string, answerer: Answerer])[] = [
  ['/chat/completions', chat],
  ['/completions', completions],
  ['/embeddings', embeddings],
  ['/responses', responses],
  ['/messages', messages],
  ['/messages/count_tokens', (body) => json({ input_tokens: inputTokens(body) })],
  [
    '/models',
    (_body, model) => json({ object: 'list', data: [{ id: model, object: 'model', created: 0, owned_by: 'weir' }] }),
  ],
];

function chat(body: Body, model: string): StandInAnswer {
  const base = { id: 'chatcmpl-1', created: 0, model };
  if (body['stream'] !== true) {
    const choice = {
      index: 0,
      message: { role: 'assistant', content: TEXT, refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    };
    return json({ ...base, object: 'chat.completion', choices: [choice], usage: openAiUsage(body) });
  }
  const chunk = (delta: object, finish: string | null): object => ({
    ...base,
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta, finish_reason: finish }],
  });
  const usage = wantsUsage(body)
    ? [{ ...base, object: 'chat.completion.chunk', choices: [], usage: openAiUsage(body) }]
    : [];
  const chunks = [
    chunk({ role: 'assistant', content: '' }, null),
    ...WORDS.map((content) => chunk({ content }, null)),
    chunk({}, 'stop'),
    ...usage,
  ];
  return dataEvents(chunks);
}

function completions(body: Body, model: string): StandInAnswer {
  const base = { id: 'cmpl-1', object: 'text_completion', created: 0, model };
  const choice = (text: string, finish: string | null): object => ({
    index: 0,
    text,
    logprobs: null,
    finish_reason: finish,
  });
  if (body['stream'] !== true) return json({ ...base, choices: [choice(TEXT, 'stop')], usage: openAiUsage(body) });
  const usage = wantsUsage(body) ? [{ ...base, choices: [], usage: openAiUsage(body) }] : [];
  const last = WORDS.length - 1;
  return dataEvents([
    ...WORDS.map((word, index) => ({ ...base, choices: [choice(word, index === last ? 'stop' : null)] })),
    ...usage,
  ]);
}

function embeddings(body: Body, model: string): StandInAnswer {
  const inputs = Array.isArray(body['input']) ? body['input'] : [body['input']];
  const embedding = body['encoding_format'] === 'base64' ? Buffer.alloc(12).toString('base64') : [0, 0.5, 1];
  const data = inputs.map((_input, index) => ({ object: 'embedding', index, embedding }));
  const tokens = inputTokens(body);
  return json({ object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } });
}

function responses(body: Body, model: string): StandInAnswer {
  const usage = {
    input_tokens: inputTokens(body),
    output_tokens: WORDS.length,
    total_tokens: inputTokens(body) + WORDS.length,
  };
  const part = { type: 'output_text', text: TEXT, annotations: [] };
  const item = { type: 'message', id: 'msg_1', status: 'completed', role: 'assistant', content: [part] };
  const base = { id: 'resp_1', object: 'response', created_at: 0, model };
  const done = { ...base, status: 'completed', output: [item], usage };
  if (body['stream'] !== true) return json(done);
  const deltas = WORDS.map((delta) => ({
    type: 'response.output_text.delta',
    item_id: 'msg_1',
    output_index: 0,
    content_index: 0,
    delta,
  }));
  return namedEvents([
    { type: 'response.created', response: { ...base, status: 'in_progress', output: [] } },
    ...deltas,
    { type: 'response.completed', response: done },
  ]);
}

function messages(body: Body, model: string): StandInAnswer {
  const usage = { input_tokens: inputTokens(body), output_tokens: WORDS.length };
  const base = { id: 'msg_1', type: 'message', role: 'assistant', model, stop_sequence: null };
  if (body['stream'] !== true) {
    return json({ ...base, content: [{ type: 'text', text: TEXT }], stop_reason: 'end_turn', usage });
  }
  return namedEvents([
    {
      type: 'message_start',
      message: { ...base, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } },
    },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    ...WORDS.map((text) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })),
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: WORDS.length },
    },
    { type: 'message_stop' },
  ]);
}

/** Enough of an MCP server to count calls: one tool, `echo`; any other tool is an error of the server. */
function mcpAnswer(body: Body): StandInAnswer {
  if (body['id'] === undefined) return { kind: 'json', status: 202, body: undefined };
  const result = (value: unknown): StandInAnswer => json({ jsonrpc: '2.0', id: body['id'], result: value });
  const params = (body['params'] ?? {}) as { protocolVersion?: string; name?: string; arguments?: unknown };
  if (body['method'] === 'initialize') {
    const protocolVersion = params.protocolVersion ?? '2025-11-25';
    return result({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'stand-in', version: '1.0.0' } });
  }
  if (body['method'] === 'tools/list') return result({ tools: [{ name: 'echo', inputSchema: { type: 'object' } }] });
  if (body['method'] !== 'tools/call') return result({});
  if (params.name === 'echo')
    return result({ content: [{ type: 'text', text: JSON.stringify(params.arguments ?? {}) }] });
  return json({
    jsonrpc: '2.0',
    id: body['id'],
    error: { code: -32602, message: `Unknown tool: ${String(params.name)}` },
  });
}

function mcpBatch(batch: readonly Body[]): StandInAnswer {
  const answers = batch
    .map(mcpAnswer)
    .flatMap((answer) => (answer.kind === 'json' && answer.body ? [answer.body] : []));
  return answers.length === 0 ? { kind: 'json', status: 202, body: undefined } : json(answers);
}

function isBatch(body: Body | readonly Body[]): body is readonly Body[] {
  return Array.isArray(body);
}

function json(body: unknown, status = 200): StandInAnswer {
  return { kind: 'json', status, body };
}

function dataEvents(chunks: readonly object[]): StandInAnswer {
  return {
    kind: 'events',
    events: [...chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`), 'data: [DONE]\n\n'],
  };
}

function namedEvents(chunks: readonly ({ readonly type: string } & Body)[]): StandInAnswer {
  const events = chunks.map((chunk, index) => {
    const data = chunk.type.startsWith('response.') ? { ...chunk, sequence_number: index } : chunk;
    return `event: ${chunk.type}\ndata: ${JSON.stringify(data)}\n\n`;
  });
  return { kind: 'events', events };
}

function wantsUsage(body: Body): boolean {
  return (body['stream_options'] as { include_usage?: unknown } | undefined)?.include_usage === true;
}

function openAiUsage(body: Body): object {
  const input = inputTokens(body);
  return { prompt_tokens: input, completion_tokens: WORDS.length, total_tokens: input + WORDS.length };
}

function inputTokens(body: Body): number {
  const input = body['messages'] ?? body['input'] ?? body['prompt'] ?? '';
  return Math.ceil((typeof input === 'string' ? input : JSON.stringify(input)).length / 4);
}
