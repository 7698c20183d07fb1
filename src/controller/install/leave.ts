// Controller: before an uninstall. Input: names, a policy, and the door to the API server. Output: the objects that
// exist, and limiters that can continue without the Redis of the release; or a refusal, and then nothing was changed.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import { namesOf } from '../../reconcile/names.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { RESOURCES, type Lease } from '../kube/kube-types.ts';
import { existingObjects } from './existing-objects.ts';
import { LEAVING_ANNOTATION, LEFT_ANNOTATION } from './parting.ts';

export interface LeaveSettings {
  /** Where the operator runs. */
  readonly ownNamespace: string;
  readonly lease: string;
  /** Which the operator watches; empty: all. */
  readonly namespaces: readonly string[];
  readonly whileObjectsExist: 'Warn' | 'Refuse';
  /** The default Redis goes with the release. */
  readonly redisOfRelease: boolean;
  /** ms, for the operator to tell limiters. */
  readonly deadlineMs: number;
}

export interface Leave {
  readonly objects: number;
  /** What a person should read before the release is gone; '' when nothing is in the way. */
  readonly report: string;
}

/** Objects exist, and the policy is Refuse. */
export class UninstallRefused extends Error {}

const LOOK_EVERY_MS = 250;

/** @throws UninstallRefused */
export async function leave(
  kube: Pick<Kube, 'list' | 'get' | 'patch'>,
  settings: LeaveSettings,
  log: Logger,
): Promise<Leave> {
  const names: string[] = [];
  for await (const { kind, metadata } of existingObjects(kube, settings.namespaces)) {
    names.push(`${kind} ${metadata.namespace}/${metadata.name}`);
  }
  if (names.length === 0) return { objects: 0, report: '' };
  const which = `${names.length} ${names.length === 1 ? 'object' : 'objects'} (${namesOf(names.sort())})`;
  if (settings.whileObjectsExist === 'Refuse') {
    throw new UninstallRefused(
      `Not uninstalled: ${exist(which, names)}, and uninstall.whileObjectsExist is Refuse. Delete what is left (its limits end at once) and run helm uninstall again; or keep the release: helm rollback to the revision that helm history shows last`,
    );
  }
  const isHandedOver = settings.redisOfRelease && (await handOver(kube, settings, log));
  return {
    objects: names.length,
    report: `${exist(which, names)} while Weir is uninstalled: ${held(settings, isHandedOver)}`,
  };
}

function exist(which: string, names: readonly string[]): string {
  return `${which} ${names.length === 1 ? 'exists' : 'exist'}`;
}

function held({ redisOfRelease }: LeaveSettings, isHandedOver: boolean): string {
  const rest =
    'New pods get no limiter, edits take no effect, and statuses become Unknown (OperatorGone). To end their limits, delete the objects before the uninstall, or restart the pods that carry a limiter';
  if (!redisOfRelease) return `limiters keep enforcing them until their pods are restarted. ${rest}`;
  return isHandedOver
    ? `limiters keep enforcing them until their pods are restarted; those that count in the trial Redis, which is removed too, then count in memory, each its share of the limits. ${rest}`
    : `no operator answered, so limiters that count in the trial Redis, which is removed too, follow failurePolicy until their pods are restarted. ${rest}`;
}

/** @returns whether the operator said that limiters have what they need */
async function handOver(
  kube: Pick<Kube, 'get' | 'patch'>,
  { ownNamespace, lease: name, deadlineMs }: LeaveSettings,
  log: Logger,
): Promise<boolean> {
  const since = new Date().toISOString();
  const endMs = performance.now() + deadlineMs;
  try {
    await kube.patch<Lease>(RESOURCES.leases, ownNamespace, name, {
      metadata: { annotations: { [LEAVING_ANNOTATION]: since, [LEFT_ANNOTATION]: null } },
    });
    log.info('waiting for the operator to prepare the limiters', { lease: `${ownNamespace}/${name}` });
    while (performance.now() < endMs) {
      const { metadata } = await kube.get<Lease>(RESOURCES.leases, ownNamespace, name);
      if (metadata.annotations?.[LEFT_ANNOTATION] === since) return true;
      await delay(LOOK_EVERY_MS);
    }
    log.warn('the operator did not answer in time', { seconds: deadlineMs / 1000 });
  } catch (error) {
    if (!hasStatus(error, 404)) throw error;
    log.warn('there is no operator: its Lease is missing', { lease: `${ownNamespace}/${name}` });
  }
  return false;
}
