// Fuzz: one target, many inputs. In: a target with its seeds, a number, a budget; out: how many inputs were tried and
// which outcomes they had, or the first input that breaks what the target promises.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { Draw, mutated } from './mutation.ts';

/** A parser under test. */
export interface FuzzTarget {
  readonly name: string;
  /** Pieces of its grammar, and of what readers confuse with it. */
  readonly words: readonly string[];
  /** Tries one input. @returns the kind of its outcome @throws Error when the parser breaks a promise */
  check(bytes: Buffer, draw: Draw): string | Promise<string>;
}

export interface FuzzReport {
  readonly inputs: number;
  readonly outcomes: Readonly<Record<string, number>>;
}

/** Kept beside the seeds, so that what was found once is changed further. */
const MAX_POOL = 500;

/** The seeds of a target: texts, or bytes as `{hex}`. */
export function seedsOf(name: string): Buffer[] {
  const file = join(import.meta.dirname, 'seeds', `${name}.yaml`);
  const seeds = parse(readFileSync(file, 'utf8')) as readonly (string | { readonly hex: string })[];
  return seeds.map((seed) =>
    typeof seed === 'string' ? Buffer.from(seed) : Buffer.from(seed.hex.replaceAll(' ', ''), 'hex'),
  );
}

/**
 * Tries the seeds, then changes of them, until `isOver`.
 * @throws Error with the input in base64, the number that made it, and what it broke
 */
export async function fuzz(target: FuzzTarget, seed: number, isOver: (inputs: number) => boolean): Promise<FuzzReport> {
  const draw = new Draw(seed);
  const seeds = seedsOf(target.name);
  const pool = [...seeds];
  const outcomes: Record<string, number> = {};
  for (let inputs = 0; ; inputs += 1) {
    if (inputs >= seeds.length && isOver(inputs)) return { inputs, outcomes };
    const bytes = seeds[inputs] ?? mutated(pool, target.words, draw);
    const outcome = await tried(target, bytes, draw, seed);
    const times = outcomes[outcome] ?? 0;
    outcomes[outcome] = times + 1;
    // Rare outcomes are worth following.
    if (times < 20 && pool.length < MAX_POOL) pool.push(bytes);
  }
}

async function tried(target: FuzzTarget, bytes: Buffer, draw: Draw, seed: number): Promise<string> {
  try {
    return await target.check(bytes, draw);
  } catch (error) {
    const about = `${target.name}, seed ${seed}: ${JSON.stringify(bytes.toString('latin1'))}`;
    throw new Error(`${about} (base64 ${bytes.toString('base64')})`, { cause: error });
  }
}
