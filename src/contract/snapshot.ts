// Contract: canonical bytes of a resource and the version that names them.
import { createHash } from 'node:crypto';
import type { Resource, SecretValues } from './limiter-config.ts';

/**
 * A resource as it travels: its canonical bytes and the version that is their hash. Versions are opaque to limiters.
 */
export interface VersionedResource {
  readonly name: string;
  readonly version: string;
  readonly bytes: Buffer;
  /** What the bytes only name. Two resources of one version have the same values. */
  readonly secrets?: SecretValues;
}

/** JSON with sorted keys and no undefined members: equal values have equal bytes whatever order they were built in. */
export function canonicalJson(value: unknown): string {
  const plain = plainOf(value);
  // Like JSON.stringify, whose type does not say so either: undefined stays undefined.
  if (plain === undefined) return undefined as unknown as string;
  const parts: string[] = [];
  write(plain, parts);
  return parts.join('');
}

/**
 * Written by hand, instead of a replacer of JSON.stringify: every object is written and compared this way, again and
 * again. In parts that are joined once: a text that grew by addition stays a tree of its pieces, for as long as
 * somebody keeps it.
 */
function write(value: unknown, parts: string[]): void {
  if (value === null || typeof value !== 'object') parts.push(JSON.stringify(value));
  else if (Array.isArray(value)) writeArray(value, parts);
  else writeObject(value as Record<string, unknown>, parts);
}

function writeArray(elements: readonly unknown[], parts: string[]): void {
  parts.push('[');
  for (const [index, element] of elements.entries()) {
    if (index > 0) parts.push(',');
    write(plainOf(element) ?? null, parts);
  }
  parts.push(']');
}

function writeObject(object: Readonly<Record<string, unknown>>, parts: string[]): void {
  let before = '{';
  for (const name of namesIn(object)) {
    const member = plainOf(object[name]);
    if (member === undefined) continue;
    parts.push(before, JSON.stringify(name), ':');
    write(member, parts);
    before = ',';
  }
  parts.push(before === '{' ? '{}' : '}');
}

/** What JSON makes of a value before it writes it; undefined: nothing. */
function plainOf(value: unknown): unknown {
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (value === null || typeof value !== 'object') return value;
  return 'toJSON' in value && typeof value.toJSON === 'function' ? plainOf((value.toJSON as () => unknown)()) : value;
}

/** Sorted; those that look like an index come first, by number, as in every JavaScript object. */
function namesIn(value: object): string[] {
  const names = Object.keys(value).sort();
  if (!names.some((name) => /^\d/.test(name))) return names;
  return Object.keys(Object.fromEntries(names.map((name) => [name, true])));
}

/** The version of some canonical bytes: the first 16 hex digits of their SHA-256. */
export function versionOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}

/** Freezes a resource into what is pushed. */
export function toVersioned(name: string, resource: Resource, secrets?: SecretValues): VersionedResource {
  const bytes = Buffer.from(canonicalJson(resource));
  return {
    name,
    version: versionOf(bytes),
    bytes,
    ...(secrets === undefined || secrets.size === 0 ? {} : { secrets }),
  };
}
