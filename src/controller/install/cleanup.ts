// Controller: takes away what an operator made while it ran, after `helm uninstall`. Input: names, and the door to the API
// server. Output: nothing of it is left, or an error that says what is. The kinds and their objects stay: they are the user's.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import { LAST_GOOD_LABEL } from '../provider/last-good.ts';
import type { Kube, ListOptions } from '../kube/kube-api.ts';
import { RESOURCES, type KubeObject, type ResourceType } from '../kube/kube-types.ts';

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
  /** ms, for the pods to end. */
  readonly deadlineMs: number;
}

const LEASES: ResourceType = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases' };
const SECRETS: ResourceType = { group: '', version: 'v1', plural: 'secrets' };
const CONFIG_MAPS: ResourceType = { group: '', version: 'v1', plural: 'configmaps' };
const PART_OF = 'app.kubernetes.io/part-of=weir';
const PAGE = 500;
const LOOK_EVERY_MS = 500;

/** @returns how many objects were removed, by type. @throws Error when the operator's pods do not end in time */
export async function cleanUp(
  kube: Pick<Kube, 'list' | 'remove'>,
  settings: CleanupSettings,
  log: Logger,
): Promise<Readonly<Record<string, number>>> {
  const { ownNamespace, lease, secrets, configMap, namespaces } = settings;
  // The CA is in the operator's own namespace, too.
  const places = namespaces.length === 0 ? [undefined] : [...new Set([...namespaces, ownNamespace])];
  await whenPodsAreGone(kube, settings, log);
  await kube.remove(LEASES, ownNamespace, lease);
  for (const name of secrets) await kube.remove(SECRETS, ownNamespace, name);
  const fieldSelector = `metadata.name=${configMap}`;
  return {
    configMaps: await removeAll(kube, CONFIG_MAPS, places, { fieldSelector, labelSelector: PART_OF }),
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
      throw new Error(`pods of the operator have not ended within ${deadlineMs / 1000} s: ${names}`);
    }
    log.info('waiting for the operator to end', { pods: items.length });
    await delay(LOOK_EVERY_MS);
  }
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
