// Controller: brings the kinds to an API server before a release needs them. Input: CustomResourceDefinitions, and
// the door to the API server. Output: each is served with at least these schemas, or an error that says why not. A
// kind that a newer release has widened stays as it is, so that going back to an older release loses no field of an
// object.
import { setTimeout as delay } from 'node:timers/promises';
import { lostIn, type KindDefinition } from '../../crd/narrowing.ts';
import type { Logger } from '../../lib/log.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { RESOURCES, type KubeObject } from '../kube/kube-types.ts';

/** A CustomResourceDefinition. */
export interface KindObject extends KubeObject, KindDefinition {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export type KindOutcome = 'created' | 'updated' | 'left';

const LOOK_EVERY_MS = 250;
/** So many places of a difference are named. */
const NAMED = 5;

/**
 * Creates or widens each kind, and waits until it is served.
 * @param deadlineMs for the API server to serve what was written
 * @returns what was done, by name
 * @throws Error when the cluster's kind and this one each admit what the other does not: no choice loses nothing; or
 * at the deadline
 */
export async function installKinds(
  kube: Pick<Kube, 'get' | 'apply'>,
  kinds: readonly KindObject[],
  deadlineMs: number,
  log: Logger,
): Promise<Readonly<Record<string, KindOutcome>>> {
  const present = await Promise.all(kinds.map((kind) => find(kube, kind.metadata.name)));
  // All are looked at before any is written: nothing is half done when one cannot be.
  const outcomes = kinds.map((kind, place) => outcomeFor(kind, present[place]));
  for (const [place, kind] of kinds.entries()) {
    const { name } = kind.metadata;
    if (outcomes[place] === 'left') {
      const newer = namesOf(lostIn(kind, present[place] ?? kind));
      log.warn('the kind is unchanged: a newer release has extended it', { kind: name, newer });
      continue;
    }
    await kube.apply(RESOURCES.kinds, undefined, kind);
    await untilServed(kube, name, deadlineMs);
    log.info('the kind is served', { kind: name, outcome: outcomes[place] });
  }
  return Object.fromEntries(kinds.map(({ metadata }, place) => [metadata.name, outcomes[place] ?? 'left']));
}

function outcomeFor(kind: KindObject, present: KindObject | undefined): KindOutcome {
  if (present === undefined) return 'created';
  const onlyThere = lostIn(kind, present);
  if (onlyThere.length === 0) return 'updated';
  const onlyHere = lostIn(present, kind);
  if (onlyHere.length === 0) return 'left';
  throw new Error(
    `${kind.metadata.name}: the one in the cluster has ${namesOf(onlyThere)}, which this release does not know, and lacks ` +
      `${namesOf(onlyHere)}, which this release needs; nothing was changed. To install that of this release: kubectl apply --server-side --force-conflicts -f deploy/crds`,
  );
}

async function find(kube: Pick<Kube, 'get'>, name: string): Promise<KindObject | undefined> {
  try {
    return await kube.get<KindObject>(RESOURCES.kinds, undefined, name);
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}

async function untilServed(kube: Pick<Kube, 'get'>, name: string, deadlineMs: number): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const { status } = await kube.get<KindObject>(RESOURCES.kinds, undefined, name);
    const conditions = status?.conditions ?? [];
    if (conditions.some((one) => one.type === 'Established' && one.status === 'True')) return;
    if (performance.now() > endMs) {
      throw new Error(`${name} is not served within ${deadlineMs / 1000} s: ${JSON.stringify(conditions)}`);
    }
    await delay(LOOK_EVERY_MS);
  }
}

function namesOf(places: readonly string[]): string {
  const more = places.length - NAMED;
  return places.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
