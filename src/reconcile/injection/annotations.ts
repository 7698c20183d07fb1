// Reconcile, injection: what a pod's author says by annotations of weir.dev beside the port. Input: annotations.
// Output: the image of the pod's limiter or why it is none, and warnings of annotations that mean nothing.
import { BOUND_ANNOTATIONS } from './bounds.ts';
import {
  IMAGE_ANNOTATION,
  INJECT_LABEL,
  INJECTED_ANNOTATION,
  NOT_INJECTED_ANNOTATION,
  PORT_ANNOTATION,
  REDIRECT_ANNOTATION,
  RESOURCE_ANNOTATIONS,
} from './names.ts';
import type { InjectablePod } from './pod.ts';

const OURS = 'weir.dev/';
const FOR_AUTHORS: readonly string[] = [
  PORT_ANNOTATION,
  REDIRECT_ANNOTATION,
  IMAGE_ANNOTATION,
  ...BOUND_ANNOTATIONS,
  ...RESOURCE_ANNOTATIONS.map(({ annotation }) => annotation),
];
/** `registry:port/path:tag@digest`, as far as it goes without asking a registry. */
const IMAGE = /^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,511}$/;

/** The image that the pod's author wants for the pod's own limiter; absent: that of the injection config. */
export function wantedImage({ metadata }: InjectablePod): { readonly image?: string; readonly complaint?: string } {
  const image = metadata?.annotations?.[IMAGE_ANNOTATION];
  if (image === undefined) return {};
  if (IMAGE.test(image)) return { image };
  return { complaint: `annotation ${IMAGE_ANNOTATION}: "${image}" is not an image reference, such as weir:0.2.0` };
}

/** One for each annotation of ours that nothing reads: a typo would otherwise do nothing, and say nothing. */
export function strangeAnnotations({ metadata }: InjectablePod): string[] {
  const known = [...FOR_AUTHORS, INJECTED_ANNOTATION, NOT_INJECTED_ANNOTATION];
  return Object.keys(metadata?.annotations ?? {})
    .filter((name) => name.startsWith(OURS) && !known.includes(name))
    .map((name) => `weir: annotation ${name} is unknown: ${mendOf(name)}`);
}

function mendOf(name: string): string {
  return name === INJECT_LABEL ? 'it is a label' : `known are ${FOR_AUTHORS.join(', ')}`;
}
