// Controller: removes what an operator created while it ran, after `helm uninstall`. Input: names, and the door to
// the API server. Output: nothing of it is left, or an error that says what is. Kinds and objects stay, they are the
// user's; statuses say OperatorGone.
import { setTimeout as delay } from 'node:timers/promises';
import { kindOf } from '../../crd/kinds/kinds.ts';
import type { Logger } from '../../lib/log.ts';
import { operatorGoneMessage, type RedisOfRelease } from '../../reconcile/status/operator-gone.ts';
import { withdrawn } from '../../reconcile/status/withdrawn.ts';
import { LAST_GOOD_LABEL } from '../provider/last-good.ts';
import { hasStatus, type Kube, type ListOptions } from '../kube/kube-api.ts';
import {
  RESOURCES,
  statusBody,
  type KubeObject,
  type Lease,
  type ResourceType,
  type StoredObject,
} from '../kube/kube-types.ts';
import { existingObjects } from './existing-objects.ts';
import { LEFT_ANNOTATION } from './parting.ts';

export interface CleanupSettings {
  /** Where the operator ran. */
  readonly ownNamespace: string;
  /** Label selector of the operator's pods: nothing is removed while one of them could make it again. */
  readonly operatorPods: string;
  readonly lease: string;
  readonly secrets: readonly string[];
  /** Name of the CA's ConfigMap, in whichever of the namespaces. */
  readonly configMap: string;
  /** Which the operator watched; empty: all. */
  readonly namespaces: readonly string[];
  /** The default Redis went with the release. */
  readonly redisOfRelease: boolean;
  /** ms, for the pods to end. */
  readonly deadlineMs: number;
}

const PART_OF = 'app.kubernetes.io/part-of=weir';
const PAGE = 500;
const LOOK_EVERY_MS = 500;
/** Writes of one status, before another writer that never rests is an error. */
const ATTEMPTS = 5;

/** What cleaning up asks of the API server. */
type Door = Pick<Kube, 'list' | 'get' | 'remove' | 'replaceStatus'>;

/** @returns how many objects were changed, by type. @throws Error when the operator's pods do not end in time */
export async function cleanUp(
  kube: Door,
  settings: CleanupSettings,
  log: Logger,
): Promise<Readonly<Record<string, number>>> {
  const { ownNamespace, lease, secrets, configMap, namespaces } = settings;
  // The CA is in the operator's own namespace, too.
  const places = namespaces.length === 0 ? [undefined] : [...new Set([...namespaces, ownNamespace])];
  await whenPodsAreGone(kube, settings, log);
  const statuses = await withdrawStatuses(kube, settings);
  await kube.remove(RESOURCES.leases, ownNamespace, lease);
  for (const name of secrets) await kube.remove(RESOURCES.secrets, ownNamespace, name);
  const fieldSelector = `metadata.name=${configMap}`;
  return {
    statuses,
    configMaps: await removeAll(kube, RESOURCES.configMaps, places, { fieldSelector, labelSelector: PART_OF }),
    controllerRevisions: await removeAll(kube, RESOURCES.controllerRevisions, places, {
      labelSelector: `${LAST_GOOD_LABEL},${PART_OF}`,
    }),
  };
}

async function whenPodsAreGone(
  kube: Pick<Kube, 'list'>,
  { ownNamespace: namespace, operatorPods: labelSelector, deadlineMs }: CleanupSettings,
  log: Logger,
): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const { items } = await kube.list(RESOURCES.pods, { namespace, labelSelector, limit: PAGE });
    if (items.length === 0) return;
    if (performance.now() > endMs) {
      const names = items.map(({ metadata }) => metadata.name).join(', ');
      throw new Error(`pods of the operator have not terminated within ${deadlineMs / 1000} s: ${names}`);
    }
    log.info('waiting for the operator to terminate', { pods: items.length });
    await delay(LOOK_EVERY_MS);
  }
}

/** After the last operator: nobody would write them again. @returns how many were written */
async function withdrawStatuses(kube: Door, settings: CleanupSettings): Promise<number> {
  const redis = await redisState(kube, settings);
  let written = 0;
  for await (const object of existingObjects(kube, settings.namespaces)) {
    if (await withdraw(kube, object, redis)) written += 1;
  }
  return written;
}

async function redisState(kube: Door, settings: CleanupSettings): Promise<RedisOfRelease> {
  if (!settings.redisOfRelease) return 'none';
  try {
    const { metadata } = await kube.get<Lease>(RESOURCES.leases, settings.ownNamespace, settings.lease);
    return metadata.annotations?.[LEFT_ANNOTATION] === undefined ? 'gone' : 'handed-over';
  } catch (error) {
    if (hasStatus(error, 404)) return 'gone';
    throw error;
  }
}

/** An object that is edited meanwhile is read again, a few times. @returns whether its status was written */
async function withdraw(kube: Door, object: StoredObject, redis: RedisOfRelease, left = ATTEMPTS): Promise<boolean> {
  const type = kindOf(object.kind);
  const { namespace, name } = object.metadata;
  const message = operatorGoneMessage(object.spec, redis);
  const status = withdrawn(object.status, { reason: 'OperatorGone', message, now: new Date().toISOString() });
  if (status === undefined) return false;
  try {
    await kube.replaceStatus(type, statusBody(object, status));
    return true;
  } catch (error) {
    if (hasStatus(error, 404)) return false;
    if (!hasStatus(error, 409) || left <= 1) throw error;
  }
  const now = await kube.get<StoredObject>(type, namespace, name);
  return await withdraw(kube, { ...now, kind: object.kind }, redis, left - 1);
}

async function removeAll(
  kube: Pick<Kube, 'list' | 'remove'>,
  type: ResourceType,
  places: readonly (string | undefined)[],
  selectors: Pick<ListOptions, 'fieldSelector' | 'labelSelector'>,
): Promise<number> {
  let removed = 0;
  for (const namespace of places) removed += await removeIn(kube, type, { ...selectors, namespace });
  return removed;
}

/** Page by page; what is removed meanwhile by another is fine. */
async function removeIn(
  kube: Pick<Kube, 'list' | 'remove'>,
  type: ResourceType,
  where: Pick<ListOptions, 'fieldSelector' | 'labelSelector' | 'namespace'>,
): Promise<number> {
  let removed = 0;
  let next: string | undefined;
  do {
    const page = await kube.list<KubeObject>(type, { ...where, limit: PAGE, ...(next ? { next } : {}) });
    for (const { metadata } of page.items) {
      await kube.remove(type, metadata.namespace ?? '', metadata.name);
      removed += 1;
    }
    next = page.next;
  } while (next !== '');
  return removed;
}
