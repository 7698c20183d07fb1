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
  return JSON.stringify(value, (_key, member: unknown) => {
    if (member === null || typeof member !== 'object' || Array.isArray(member)) return member;
    const entries = Object.entries(member).filter(([, inner]) => inner !== undefined);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
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
