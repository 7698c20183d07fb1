// Injection: the injector. Input: a pod, its namespace, settings. Output: the patch that gives it a limiter, or why it gets none.
// Pure; what it did once it does not do again, and what later webhooks added is brought in line.
import { isDeepStrictEqual } from 'node:util';
import { strangeAnnotations, wantedImage } from './annotations.ts';
import { wantedBounds } from './bounds.ts';
import { choosePort, isRefusal, type Placement, type RefusalReason } from './choose-port.ts';
import {
  INJECT_LABEL,
  INJECTED_ANNOTATION,
  LIMITER_CONTAINER,
  REDIRECT_ANNOTATION,
  REDIRECT_CONTAINER,
  VOLUMES,
} from './names.ts';
import { runningContainers, type Container, type InjectablePod, type PodSpec } from './pod.ts';
import {
  drainHook,
  limiterContainer,
  limiterVolumes,
  placementOf,
  portCollision,
  redirectContainer,
  type SidecarSettings,
} from './sidecar.ts';
import { passLimiter, withPreStop } from './workload.ts';

export interface InjectorSettings extends SidecarSettings {
  /** Becomes the value of the annotation. */
  readonly version: string;
  readonly ownNamespace?: string;
  /** Namespaces that the operator watches; empty: all. */
  readonly watchedNamespaces: readonly string[];
}

export interface NamespaceFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** JSON patch (RFC 6902); `add` replaces a member that is there. */
export type PatchOperation =
  | { readonly op: 'add'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/** Why a pod gets no limiter. */
export type SkipReason =
  | RefusalReason
  | 'NotAsked'
  | 'OptedOut'
  | 'ExcludedNamespace'
  | 'UnwatchedNamespace'
  | 'MirrorPod'
  | 'Windows'
  | 'HostNetwork'
  | 'NameTaken'
  | 'PortTaken'
  | 'NoInitImage';

export type Injection =
  | { readonly kind: 'injected'; readonly patch: readonly PatchOperation[]; readonly warnings: readonly string[] }
  | { readonly kind: 'unchanged'; readonly warnings: readonly string[] }
  | {
      readonly kind: 'skipped';
      readonly reason: SkipReason;
      /** Takes away an annotation that claims a limiter which is not there. */
      readonly patch: readonly PatchOperation[];
      readonly warnings: readonly string[];
    };

interface Skip {
  readonly reason: SkipReason;
  /** Told to whoever makes the pod; absent: it is as they want it. */
  readonly message?: string;
}

const SYSTEM_NAMESPACES = ['kube-system', 'kube-node-lease'];
const POD_SECURITY_LABEL = 'pod-security.kubernetes.io/enforce';
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** Gives the pod its limiter. `drainToken`: only who knows it can drain the limiter; used for a limiter that is made now. */
export function inject(
  pod: InjectablePod,
  namespace: NamespaceFacts,
  settings: InjectorSettings,
  drainToken: string,
): Injection {
  const skip = whyNot(pod, namespace, settings);
  if (skip !== undefined) return skipped(pod, skip);
  const present = placementOf(pod.spec);
  if (present !== undefined) return patched(pod, { ...present, settings }, []);
  const { image = settings.image, complaint: strangeImage } = wantedImage(pod);
  const { bounds, complaint = strangeImage } = wantedBounds(pod.metadata?.annotations, settings.bounds);
  if (complaint !== undefined) return skipped(pod, { reason: 'WrongAnnotation', message: complaint });
  const placement = choosePort(pod);
  if (isRefusal(placement)) return skipped(pod, placement);
  const obstacle = obstacleIn(pod.spec, placement, settings);
  if (obstacle !== undefined) return skipped(pod, obstacle);
  const plan = { placement, drainToken, settings: { ...settings, image, bounds } };
  return patched(pod, plan, [...warningsOf(placement, namespace), ...strangeAnnotations(pod)]);
}

function patched(pod: InjectablePod, plan: Plan, warnings: readonly string[]): Injection {
  const { annotations } = pod.metadata ?? {};
  const spec = withLimiter(pod.spec, plan);
  const patch = [
    ...change('/metadata/annotations', annotations, { ...annotations, [INJECTED_ANNOTATION]: plan.settings.version }),
    ...(['initContainers', 'containers', 'volumes', 'imagePullSecrets'] as const).flatMap((member) =>
      change(`/spec/${member}`, pod.spec[member], spec[member]),
    ),
  ];
  return patch.length === 0 ? { kind: 'unchanged', warnings } : { kind: 'injected', patch, warnings };
}

function whyNot(pod: InjectablePod, namespace: NamespaceFacts, settings: InjectorSettings): Skip | undefined {
  return unasked(pod, namespace) ?? outOfReach(namespace.name, settings) ?? unfit(pod.spec);
}

/** The pod's label wins over its namespace's. */
function unasked({ metadata }: InjectablePod, { labels }: NamespaceFacts): Skip | undefined {
  const { labels: own, annotations } = metadata ?? {};
  const wish = own?.[INJECT_LABEL] ?? labels[INJECT_LABEL];
  if (annotations?.[MIRROR_ANNOTATION] !== undefined) return { reason: 'MirrorPod' };
  if (wish === 'true') return undefined;
  if (wish === 'false') return { reason: 'OptedOut' };
  if (own?.[INJECT_LABEL] === undefined) return { reason: 'NotAsked' };
  return { reason: 'NotAsked', message: `label ${INJECT_LABEL}: "${String(wish)}" is neither "true" nor "false"` };
}

function outOfReach(name: string, settings: InjectorSettings): Skip | undefined {
  const { ownNamespace, excludedNamespaces, watchedNamespaces } = settings;
  if ([...SYSTEM_NAMESPACES, ...excludedNamespaces, ownNamespace].includes(name)) {
    return { reason: 'ExcludedNamespace', message: `namespace ${name} is left out of injection` };
  }
  if (watchedNamespaces.length === 0 || watchedNamespaces.includes(name)) return undefined;
  return { reason: 'UnwatchedNamespace', message: `the operator does not watch namespace ${name}` };
}

/** Pods that no limiter can stand in. */
function unfit({ hostNetwork, os, nodeSelector }: PodSpec): Skip | undefined {
  if (os?.name === 'windows' || nodeSelector?.['kubernetes.io/os'] === 'windows') {
    return { reason: 'Windows', message: 'it runs on Windows, where there is no limiter' };
  }
  if (hostNetwork !== true) return undefined;
  const message = 'it uses the network of its node (hostNetwork), where a limiter would stand before the whole node';
  return { reason: 'HostNetwork', message };
}

/** What in the pod is in the way of a first limiter. */
function obstacleIn(spec: PodSpec, placement: Placement, settings: SidecarSettings): Skip | undefined {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  const name = containers.find((each) => each.name === LIMITER_CONTAINER || each.name === REDIRECT_CONTAINER)?.name;
  if (name !== undefined)
    return { reason: 'NameTaken', message: `it has a container ${name} that is not the injector's` };
  const port = portCollision(containers);
  if (port !== undefined) return { reason: 'PortTaken', message: `port ${port} is the limiter's: use another` };
  if (!placement.redirect || settings.initImage !== undefined) return undefined;
  return {
    reason: 'NoInitImage',
    message: 'the operator has no image to redirect with: set initImage in its injection config',
  };
}

function skipped(pod: InjectablePod, { reason, message }: Skip): Injection {
  const { metadata, spec } = pod;
  const warnings =
    message === undefined ? [] : [`weir: the pod gets no limiter: ${message}`, ...strangeAnnotations(pod)];
  const isForeign = reason === 'MirrorPod' || placementOf(spec) !== undefined;
  const isClaimed = metadata?.annotations?.[INJECTED_ANNOTATION] !== undefined && !isForeign;
  const path = `/metadata/annotations/${INJECTED_ANNOTATION.replace('/', '~1')}`;
  return { kind: 'skipped', reason, patch: isClaimed ? [{ op: 'remove', path }] : [], warnings };
}

interface Plan {
  readonly placement: Placement;
  readonly settings: InjectorSettings;
  readonly drainToken: string;
}

function withLimiter(spec: PodSpec, plan: Plan): PodSpec {
  const { placement, settings, drainToken } = plan;
  const own = runningContainers(spec).filter(({ name }) => name !== LIMITER_CONTAINER);
  const pass = (container: Container): Container =>
    own.includes(container) ? passLimiter(container, placement) : container;
  const preStop = placement.port === undefined ? undefined : drainHook(settings, spec, drainToken);
  const secrets = spec.imagePullSecrets ?? [];
  const lacking = settings.imagePullSecrets.filter((name) => !secrets.some((secret) => secret.name === name));
  return {
    ...spec,
    initContainers: [...firstContainers(spec, plan), ...(spec.initContainers ?? []).map(pass)],
    containers: spec.containers.map((container) => withPreStop(pass(container), preStop)),
    volumes: withVolumes(spec, settings),
    ...(lacking.length === 0 ? {} : { imagePullSecrets: [...secrets, ...lacking.map((name) => ({ name }))] }),
  };
}

/** Those that the pod lacks. First, so that the limiter is there before any other container and ends after all of them. */
function firstContainers(spec: PodSpec, { placement, settings, drainToken }: Plan): Container[] {
  if (spec.initContainers?.some(({ name }) => name === LIMITER_CONTAINER) === true) return [];
  const { port, redirect } = placement;
  const { initImage } = settings;
  const redirecting = redirect && port !== undefined && initImage !== undefined;
  return [
    ...(redirecting ? [redirectContainer(settings, initImage, port)] : []),
    limiterContainer(settings, placement, drainToken),
  ] as Container[];
}

function withVolumes({ volumes = [] }: PodSpec, settings: SidecarSettings): readonly { readonly name: string }[] {
  const ours = new Set<string>(Object.values(VOLUMES));
  const present = new Set(volumes.map(({ name }) => name).filter((name) => ours.has(name)));
  return [...volumes, ...limiterVolumes(settings).filter(({ name }) => !present.has(name))];
}

function warningsOf({ port, redirect }: Placement, { name, labels }: NamespaceFacts): string[] {
  if (port === undefined)
    return ['weir: the pod has no port: its limiter only answers the decision API on 127.0.0.1:18081'];
  const level = labels[POD_SECURITY_LABEL] ?? 'privileged';
  if (!redirect || level === 'privileged') return [];
  const refused = `namespace ${name} enforces Pod Security ${level}, which refuses the NET_ADMIN of ${REDIRECT_CONTAINER}`;
  return [`weir: ${refused}: leave out ${REDIRECT_ANNOTATION}, name the port, and let the Service target the name`];
}

function change(path: string, before: unknown, after: unknown): PatchOperation[] {
  if (after === undefined || isDeepStrictEqual(before, after)) return [];
  return [{ op: 'add', path, value: after }];
}
