// End to end, traffic: sends requests as clients do, many at once, and keeps what came back.
import { Agent, request } from 'undici';

/** An answer as it came over the wire; header names are lower case. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** From before the request to the end of the body, ms. */
  readonly elapsedMs: number;
}

export interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'DELETE' | 'HEAD' | 'OPTIONS';
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is when a text, as JSON otherwise. */
  readonly body?: string | object;
}

const dispatcher = new Agent({ connections: 128, headersTimeout: 20_000, bodyTimeout: 20_000 });

/** One request; any status is an answer. Throws only when there is none. */
export async function call(url: string, options: CallOptions = {}): Promise<Answer> {
  const { body, headers = {} } = options;
  const text = typeof body === 'string' || body === undefined ? body : JSON.stringify(body);
  const beganMs = performance.now();
  const answer = await request(url, {
    dispatcher,
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(text === undefined ? {} : { body: text }),
  });
  const flat = Object.entries(answer.headers).map(([name, value]) => [name, String(value ?? '')] as const);
  return {
    status: answer.statusCode,
    headers: Object.fromEntries(flat),
    body: await answer.body.text(),
    elapsedMs: performance.now() - beganMs,
  };
}

/** One chat completion of a model at the base URL of its route. */
export async function chat(
  base: string,
  model: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return await call(`${base}/v1/chat/completions`, {
    headers,
    body: { model, messages: [{ role: 'user', content: 'hello' }] },
  });
}

/** Runs `one` for 0 … total-1 with so many in flight at any time; results in the order of their numbers. */
export async function flood<T>(total: number, inFlight: number, one: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < total; index = next++) results[index] = await one(index);
  };
  await Promise.all(Array.from({ length: Math.min(total, inFlight) }, worker));
  return results;
}

/** How many answers have each status: `{200: 50, 429: 350}`. */
export function tally(answers: readonly Answer[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}
