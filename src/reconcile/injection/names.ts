// Reconcile, injection: the names by which an injected pod is asked for and recognized, and the ports of the limiter
// in it.

/** Label of a pod or a namespace, "true" or "false"; the pod's wins. */
export const INJECT_LABEL = 'weir.dev/inject';
/** Annotation of an injected pod: the version of the injector. */
export const INJECTED_ANNOTATION = 'weir.dev/injected';
/** Annotation of a pod that the injector saw and left alone: `<reason>: <what is so>: <mend>`. */
export const NOT_INJECTED_ANNOTATION = 'weir.dev/not-injected';
/** Annotation: name or number of the port whose traffic is limited. */
export const PORT_ANNOTATION = 'weir.dev/port';
/** Annotation: "true" redirects what comes in for the port, for Services that target it by number. */
export const REDIRECT_ANNOTATION = 'weir.dev/redirect';
/** Annotation: image of this pod's limiter, instead of that of the injection config. */
export const IMAGE_ANNOTATION = 'weir.dev/image';

/**
 * Annotations of a pod or a namespace: resources of the pod's limiter, instead of those of the injection config. The
 * pod's win.
 */
export const RESOURCE_ANNOTATIONS = [
  { annotation: 'weir.dev/limiter-cpu-request', side: 'requests', resource: 'cpu' },
  { annotation: 'weir.dev/limiter-cpu-limit', side: 'limits', resource: 'cpu' },
  { annotation: 'weir.dev/limiter-memory-request', side: 'requests', resource: 'memory' },
  { annotation: 'weir.dev/limiter-memory-limit', side: 'limits', resource: 'memory' },
] as const;

export const LIMITER_CONTAINER = 'weir-limiter';
export const REDIRECT_CONTAINER = 'weir-init';

export const VOLUMES = { token: 'weir-token', ca: 'weir-ca', state: 'weir-state' } as const;

export const LIMITER_PORTS = {
  traffic: 18_080,
  decision: 18_081,
  admin: 18_090,
  /** Redirected pods: leads past the limiter to the workload's port, for the kubelet's probes. */
  probes: 18_091,
} as const;

/** Names of the limiter's own ports in the pod; the traffic port has this one when it takes over none. */
export const PORT_NAMES = { traffic: 'weir-traffic', admin: 'weir-admin' } as const;
