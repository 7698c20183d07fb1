// Fuzz: small changes of known inputs. In: seeds, a number; out: inputs, the same ones for the same number.

/** Numbers in [0, below), the same ones for the same seed (mulberry32). */
export class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

const MAX_BYTES = 4096;

type Mutation = (bytes: Buffer, draw: Draw, pool: readonly Buffer[], words: readonly string[]) => Buffer;

const cut = (bytes: Buffer, draw: Draw): readonly [number, number] => {
  const from = draw.below(bytes.length + 1);
  return [from, Math.min(bytes.length, from + draw.below(12))];
};

const MUTATIONS: readonly Mutation[] = [
  (bytes, draw) => {
    const copy = Buffer.from(bytes);
    if (copy.length > 0) copy[draw.below(copy.length)] = draw.below(256);
    return copy;
  },
  (bytes, draw) => {
    const [from, to] = cut(bytes, draw);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  (bytes, draw) => {
    const [from, to] = cut(bytes, draw);
    return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
  },
  (bytes, draw, _pool, words) => {
    const at = draw.below(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), Buffer.from(draw.of(words), 'latin1'), bytes.subarray(at)]);
  },
  (bytes, draw, _pool, words) => {
    const [from, to] = cut(bytes, draw);
    return Buffer.concat([bytes.subarray(0, from), Buffer.from(draw.of(words), 'latin1'), bytes.subarray(to)]);
  },
  (bytes, draw, pool) => {
    const other = draw.of(pool);
    const [at, from] = [draw.below(bytes.length + 1), draw.below(other.length + 1)];
    return Buffer.concat([bytes.subarray(0, at), other.subarray(from)]);
  },
];

/** One to six changes of one of `pool`; `words` are what the format's grammar is made of. */
export function mutated(pool: readonly Buffer[], words: readonly string[], draw: Draw): Buffer {
  let bytes = draw.of(pool);
  for (let left = 1 + draw.below(6); left > 0; left -= 1) {
    bytes = draw.of(MUTATIONS)(bytes, draw, pool, words).subarray(0, MAX_BYTES);
  }
  return bytes;
}
