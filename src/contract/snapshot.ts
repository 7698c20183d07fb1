// Contract: canonical bytes of a resource and the version that names them.
import { createHash } from 'node:crypto';
import type { Resource, SecretValues } from './limiter-config.ts';

/** A resource as it travels: its canonical bytes and the version that is their hash. Versions are opaque to limiters. */
export interface VersionedResource {
  readonly name: string;
  readonly version: string;
  readonly bytes: Buffer;
  /** What the bytes only name. Two resources of one version have the same values. */
  readonly secrets?: SecretValues;
}

/** JSON with sorted keys and no undefined members: equal values have equal bytes whatever order they were built in. */
export function canonicalJson(value: unknown): string {
  // Like JSON.stringify, whose type does not say so either: undefined stays undefined.
  return write(value) as string;
}

/** Written by hand, in place of a replacer of JSON.stringify: every object is written and compared this way, again and again. */
function write(value: unknown): string | undefined {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if ('toJSON' in value && typeof value.toJSON === 'function') return write((value.toJSON as () => unknown)());
  if (Array.isArray(value)) return `[${value.map((element) => write(element) ?? 'null').join(',')}]`;
  let text = '';
  for (const name of namesIn(value)) {
    const member = write((value as Record<string, unknown>)[name]);
    if (member === undefined) continue;
    text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${member}`;
  }
  return `{${text}}`;
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
