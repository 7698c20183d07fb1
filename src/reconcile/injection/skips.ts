// Reconcile, injection: why a pod carries no limiter. One table: reason -> what is so, and how to mend it; the
// webhook's warnings, the annotation of the pod, the status of objects and docs/sidecars.md say what it says.
import { INJECT_LABEL, LIMITER_PORTS, PORT_ANNOTATION, REDIRECT_ANNOTATION } from './names.ts';

/** `NAMESPACE` stands for the name of the pod's. */
interface SkipText {
  /** Said when nothing more exact is known. */
  readonly what: string;
  readonly mend: string;
}

export const SKIPS = {
  HostNetwork: {
    what: 'the pod uses the network of its node (hostNetwork), so a limiter would receive the traffic of the whole node',
    mend: 'run it in the pod network, or use a shared limiter',
  },
  NoPort: {
    what: 'no TCP port is declared',
    mend: `declare it with a name, or annotate ${PORT_ANNOTATION} and ${REDIRECT_ANNOTATION}: "true"`,
  },
  SeveralPorts: { what: 'several ports are declared', mend: `annotate ${PORT_ANNOTATION} with the one to limit` },
  UnnamedPort: {
    what: 'the port has no name, which the limiter needs',
    mend: `name it and let the Service target the name, or annotate ${REDIRECT_ANNOTATION}: "true"`,
  },
  AmbiguousName: { what: 'two ports have the same name', mend: 'give each port a name of its own' },
  UnknownPort: {
    what: `annotation ${PORT_ANNOTATION} names a port that is not declared`,
    mend: 'correct the annotation, or declare the port',
  },
  WrongAnnotation: { what: 'an annotation has an invalid value', mend: 'correct the annotation' },
  WrongLabel: { what: `label ${INJECT_LABEL} has an invalid value`, mend: 'write "true" or "false"' },
  NotHttp: {
    what: 'no declared port speaks plain HTTP/1.1, by its name or probe',
    mend: `annotate ${PORT_ANNOTATION} if one of them does`,
  },
  PortTaken: {
    what: `a container uses a port of the limiter (${Object.values(LIMITER_PORTS).join(', ')})`,
    mend: 'use another port',
  },
  NameTaken: {
    what: 'a container has a reserved name (weir-limiter, weir-init)',
    mend: 'rename the container',
  },
  NoRoom: {
    what: 'a LimitRange of the namespace allows a container less memory than the limiter needs (96Mi)',
    mend: 'raise max.memory of the LimitRange, then restart the pod; or use a shared limiter',
  },
  NoInitImage: {
    what: 'the pod asks for a redirect, and the operator has no initImage',
    mend: 'set initImage in the injection config, then restart the pod; or name the port and do not redirect',
  },
  ExcludedNamespace: {
    what: 'the namespace is excluded from injection (kube-system, that of Weir, injector.excludedNamespaces)',
    mend: 'remove it from injector.excludedNamespaces if it is listed there and restart the pod, or use a shared limiter',
  },
  UnwatchedNamespace: {
    what: 'the operator does not watch the namespace',
    mend: 'add it to watchNamespaces, then restart the pod',
  },
  Windows: { what: 'the pod runs on Windows, for which there is no limiter', mend: 'use a shared limiter' },
  MirrorPod: { what: 'the pod is a static pod of the kubelet', mend: 'use a shared limiter' },
  OptedOut: {
    what: `the pod opts out by its label ${INJECT_LABEL}: "false"`,
    mend: 'remove the label from the pod template, or select other pods',
  },
  NotAsked: {
    what: `neither the pod nor its namespace has the label ${INJECT_LABEL}: "true"`,
    mend: `kubectl label namespace NAMESPACE ${INJECT_LABEL}=true, then restart the pod (kubectl rollout restart)`,
  },
  NotSeen: {
    what: 'the pod was created before the label, or while the webhook was down',
    mend: 'restart it (kubectl rollout restart)',
  },
  NoInjector: {
    what: 'sidecar injection is disabled',
    mend: 'set injector.enabled=true and restart the pod, or use a shared limiter',
  },
} as const satisfies Readonly<Record<string, SkipText>>;

/** Why a pod carries no limiter, in one word. */
export type SkipReason = keyof typeof SKIPS;

export interface Skip {
  readonly reason: SkipReason;
  /** What is so in this pod; absent: what the table says. */
  readonly what?: string;
}

/** What is wrong and how to mend it, for people. */
export function skipText({ reason, what }: Skip, namespace: string): string {
  const text: SkipText = SKIPS[reason];
  return `${what ?? text.what}: ${text.mend.replace('NAMESPACE', namespace)}`;
}

/** Longest text that is believed of a pod. */
const MAX_TEXT = 500;

/** The value of the annotation of a pod that got none. */
export function formatSkip(reason: SkipReason, text: string): string {
  return `${reason}: ${text}`;
}

/**
 * The reverse of {@link formatSkip}; undefined for any other value. The author of the pod may have written it, so it
 * is kept short.
 */
export function parseSkip(
  value: string | undefined,
): { readonly reason: SkipReason; readonly text: string } | undefined {
  const [, reason = '', text = ''] = /^([A-Za-z]+): (.+)$/s.exec(value ?? '') ?? [];
  if (!isReason(reason)) return undefined;
  return { reason, text: text.replace(/\p{Cc}+/gu, ' ').slice(0, MAX_TEXT) };
}

function isReason(text: string): text is SkipReason {
  return Object.hasOwn(SKIPS, text);
}
