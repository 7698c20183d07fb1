// Limiter, meter: reads what an answer used while it passes. In: the head and the bytes of an answer, cut anywhere;
// out: the bytes for the client, and what they said. Knows no sockets.
import type { Usage } from '../decide/usage.ts';

/** What an answer said of what was used. */
export interface Reading {
  readonly usage: Usage;
  readonly source: 'reported' | 'counted';
}

/** The part of an answer's head that says how to read it. */
export interface AnswerHead {
  readonly status: number;
  /** Lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** One answer; its methods are called in this order: start once, chunk for all bytes, end once when they are whole. */
export interface AnswerMeter {
  /** pass: every byte goes on as it came. rewrite: others may go on, so headers about the bytes are not true. */
  start(head: AnswerHead): 'pass' | 'rewrite';
  /** @returns what goes on to the client now */
  chunk(bytes: Buffer): readonly Buffer[];
  /** @returns what was held back until the answer was whole */
  end(): readonly Buffer[];
  /** What is known so far; undefined: nothing. */
  readonly reading: Reading | undefined;
}

/** Reads nothing: for limits of what is known when a request comes. */
export const UNMETERED: AnswerMeter = {
  start: () => 'pass',
  chunk: (bytes) => [bytes],
  end: () => [],
  reading: undefined,
};
