// Reconcile, injection: the injector. Input: a pod, its namespace, settings. Output: the patch that gives it a
// limiter, or why it gets none. Pure; what it did once it does not do again, and what later webhooks added is brought
// in line.
import { isDeepStrictEqual } from 'node:util';
import { strangeAnnotations, wantedImage } from './annotations.ts';
import { wantedBounds } from './bounds.ts';
import { choosePort, isSkip, type Placement } from './choose-port.ts';
import {
  INJECT_LABEL,
  INJECTED_ANNOTATION,
  LIMITER_CONTAINER,
  NOT_INJECTED_ANNOTATION,
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
import { fitted, overlaid, roomComplaint, wantedResources, type ContainerRange, type Fitted } from './resources.ts';
import { formatSkip, skipText, type Skip, type SkipReason } from './skips.ts';
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
  readonly annotations?: Readonly<Record<string, string>>;
  /** What its LimitRanges say of containers. */
  readonly containerRanges?: readonly ContainerRange[];
}

/** JSON patch (RFC 6902); `add` replaces a member that is there. */
export type PatchOperation =
  | { readonly op: 'add'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

export type Injection =
  | { readonly kind: 'injected'; readonly patch: readonly PatchOperation[]; readonly warnings: readonly string[] }
  | { readonly kind: 'unchanged'; readonly warnings: readonly string[] }
  | {
      readonly kind: 'skipped';
      readonly reason: SkipReason;
      /** Writes why into the pod, and takes away an annotation that claims a limiter which is not there. */
      readonly patch: readonly PatchOperation[];
      readonly warnings: readonly string[];
    };

const SYSTEM_NAMESPACES = ['kube-system', 'kube-node-lease'];
const POD_SECURITY_LABEL = 'pod-security.kubernetes.io/enforce';
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/**
 * Gives the pod its limiter. `drainToken`: only who knows it can drain the limiter; used for a limiter that is made
 * now.
 */
export function inject(
  pod: InjectablePod,
  namespace: NamespaceFacts,
  settings: InjectorSettings,
  drainToken: string,
): Injection {
  const skip = whyNot(pod, namespace, settings);
  if (skip !== undefined) return skipped(pod, namespace, skip);
  const present = placementOf(pod.spec);
  if (present !== undefined) return patched(pod, { ...present, settings }, []);
  const { image = settings.image, complaint: strangeImage } = wantedImage(pod);
  const { bounds, complaint = strangeImage } = wantedBounds(pod.metadata?.annotations, settings.bounds);
  if (complaint !== undefined) return skipped(pod, namespace, { reason: 'WrongAnnotation', what: complaint });
  const placement = choosePort(pod);
  if (isSkip(placement)) return skipped(pod, namespace, placement);
  const obstacle = obstacleIn(pod.spec, placement, settings);
  if (obstacle !== undefined) return skipped(pod, namespace, obstacle);
  const sized = withResources(pod, namespace, settings);
  if ('reason' in sized) return skipped(pod, namespace, sized);
  const plan = { placement, drainToken, settings: { ...sized.settings, image, bounds } };
  return patched(pod, plan, [...warningsOf(placement, namespace), ...sized.warnings, ...strangeAnnotations(pod)]);
}

/**
 * The resources that annotations ask for, as far as the namespace admits them: the limiter must not keep the pod from
 * being created.
 */
function withResources(
  { metadata }: InjectablePod,
  { name, annotations = {}, containerRanges = [] }: NamespaceFacts,
  settings: InjectorSettings,
): { readonly settings: InjectorSettings; readonly warnings: readonly string[] } | Skip {
  const wanted = wantedResources(metadata?.annotations ?? {}, { name, annotations });
  if ('reason' in wanted) return wanted;
  const limiter = fitted(overlaid(settings.resources ?? {}, wanted), containerRanges);
  const what = roomComplaint(limiter.resources, containerRanges);
  if (what !== undefined) return { reason: 'NoRoom', what };
  const init = fitted(overlaid(settings.initResources ?? {}, wanted), containerRanges);
  return {
    settings: { ...settings, ...sizesOf('resources', limiter), ...sizesOf('initResources', init) },
    warnings: limiter.changes.map((change) => `weir: the limiter gets ${change}`),
  };
}

function sizesOf(field: 'resources' | 'initResources', { resources }: Fitted): Partial<InjectorSettings> {
  return Object.keys(resources).length === 0 ? {} : { [field]: resources };
}

function patched(pod: InjectablePod, plan: Plan, warnings: readonly string[]): Injection {
  const spec = withLimiter(pod.spec, plan);
  const patch = [
    ...annotated(pod, { [INJECTED_ANNOTATION]: plan.settings.version }),
    ...(['initContainers', 'containers', 'volumes', 'imagePullSecrets'] as const).flatMap((member) =>
      change(`/spec/${member}`, pod.spec[member], spec[member]),
    ),
  ];
  return patch.length === 0 ? { kind: 'unchanged', warnings } : { kind: 'injected', patch, warnings };
}

function whyNot(pod: InjectablePod, namespace: NamespaceFacts, settings: InjectorSettings): Skip | undefined {
  const skip = unasked(pod, namespace) ?? outOfReach(namespace.name, settings);
  const reason = unfitness(pod);
  return skip ?? (reason === undefined ? undefined : { reason });
}

/** The pod's label wins over its namespace's. */
function unasked({ metadata }: InjectablePod, { labels }: NamespaceFacts): Skip | undefined {
  const { labels: own, annotations } = metadata ?? {};
  const wish = own?.[INJECT_LABEL] ?? labels[INJECT_LABEL];
  if (annotations?.[MIRROR_ANNOTATION] !== undefined) return { reason: 'MirrorPod' };
  if (wish === 'true') return undefined;
  if (wish === 'false') return { reason: 'OptedOut' };
  if (own?.[INJECT_LABEL] === undefined) return { reason: 'NotAsked' };
  return { reason: 'WrongLabel', what: `label ${INJECT_LABEL}: "${String(wish)}" is neither "true" nor "false"` };
}

function outOfReach(name: string, settings: InjectorSettings): Skip | undefined {
  const { watchedNamespaces } = settings;
  if (isExcluded(name, settings)) {
    return { reason: 'ExcludedNamespace', what: `namespace ${name} is excluded from injection` };
  }
  if (watchedNamespaces.length === 0 || watchedNamespaces.includes(name)) return undefined;
  return { reason: 'UnwatchedNamespace', what: `the operator does not watch namespace ${name}` };
}

/** Namespaces of the cluster and of Weir are, beside those that the settings name. */
export function isExcluded(
  namespace: string,
  { ownNamespace, excludedNamespaces }: Pick<InjectorSettings, 'ownNamespace' | 'excludedNamespaces'>,
): boolean {
  return [...SYSTEM_NAMESPACES, ...excludedNamespaces, ownNamespace].includes(namespace);
}

/** Pods that no limiter can stand in. */
export function unfitness({ metadata, spec }: InjectablePod): 'MirrorPod' | 'Windows' | 'HostNetwork' | undefined {
  const { hostNetwork, os, nodeSelector } = spec;
  if (metadata?.annotations?.[MIRROR_ANNOTATION] !== undefined) return 'MirrorPod';
  if (os?.name === 'windows' || nodeSelector?.['kubernetes.io/os'] === 'windows') return 'Windows';
  return hostNetwork === true ? 'HostNetwork' : undefined;
}

/** What in the pod is in the way of a first limiter. */
function obstacleIn(spec: PodSpec, placement: Placement, settings: SidecarSettings): Skip | undefined {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  const name = containers.find((each) => each.name === LIMITER_CONTAINER || each.name === REDIRECT_CONTAINER)?.name;
  if (name !== undefined)
    return { reason: 'NameTaken', what: `the container name ${name} is reserved for the injector` };
  const port = portCollision(containers);
  if (port !== undefined)
    return { reason: 'PortTaken', what: `a container uses port ${port}, which the limiter needs` };
  return placement.redirect && settings.initImage === undefined ? { reason: 'NoInitImage' } : undefined;
}

/** Reasons that the author of the pod chose. */
const AS_WANTED: readonly SkipReason[] = ['MirrorPod', 'NotAsked', 'OptedOut'];

function skipped(pod: InjectablePod, { name }: NamespaceFacts, skip: Skip): Injection {
  const { reason } = skip;
  const text = skipText(skip, name);
  // A static pod must stay as it is, and a pod that has a limiter is not one without.
  const isLeftAlone = reason === 'MirrorPod' || placementOf(pod.spec) !== undefined;
  const written = reason === 'NotAsked' ? {} : { [NOT_INJECTED_ANNOTATION]: formatSkip(reason, text) };
  const warnings = AS_WANTED.includes(reason)
    ? []
    : [`weir: the pod gets no limiter: ${text}`, ...strangeAnnotations(pod)];
  return { kind: 'skipped', reason, patch: isLeftAlone ? [] : annotated(pod, written), warnings };
}

/** Sets the two annotations of the injector to what is given, and removes the other one. */
function annotated({ metadata }: InjectablePod, written: Readonly<Record<string, string>>): PatchOperation[] {
  const before = metadata?.annotations;
  const others = Object.entries(before ?? {}).filter(
    ([name]) => ![INJECTED_ANNOTATION, NOT_INJECTED_ANNOTATION].includes(name),
  );
  const after = { ...Object.fromEntries(others), ...written };
  return before === undefined && Object.keys(after).length === 0 ? [] : change('/metadata/annotations', before, after);
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

/**
 * Those that the pod lacks. First, so that the limiter is there before any other container and ends after all of
 * them.
 */
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
    return ['weir: the pod has no port: its limiter serves only the decision API on 127.0.0.1:18081'];
  const level = labels[POD_SECURITY_LABEL] ?? 'privileged';
  if (!redirect || level === 'privileged') return [];
  const refused = `namespace ${name} enforces Pod Security ${level}, which does not allow the capability NET_ADMIN of ${REDIRECT_CONTAINER}`;
  return [`weir: ${refused}: remove ${REDIRECT_ANNOTATION}, name the port, and let the Service target the name`];
}

function change(path: string, before: unknown, after: unknown): PatchOperation[] {
  if (after === undefined || isDeepStrictEqual(before, after)) return [];
  return [{ op: 'add', path, value: after }];
}
