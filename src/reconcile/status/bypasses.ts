// Reconcile, status: the ways past the limiters of an object -> sentences that say where, and how to lead them to the
// limiter.
import { countOf, MOST_NAMED, namesOf } from '../names.ts';
import type { Bypass, LimiterTally } from '../types.ts';

const REDIRECT = 'annotate the pod template weir.dev/redirect: "true" and restart the pods';

/** One sentence for each way, at most a few. The operator knows them without any limiter's word. */
export function bypassTexts({ bypasses }: LimiterTally): string[] {
  const texts = bypasses.slice(0, MOST_NAMED).map((bypass) => `${whereOf(bypass)}: ${mendOf(bypass)}`);
  const more = bypasses.length - MOST_NAMED;
  return more > 0 ? [...texts, `and ${countOf(more, 'more way')}`] : texts;
}

/** undefined: each pod is reached through its limiter in some known way. */
export function bypassedText(tally: LimiterTally): string | undefined {
  const { bypassedPods: pods } = tally;
  if (pods.length === 0) return undefined;
  const which = `all known traffic bypasses the limiters of ${countOf(pods.length, 'pod')} (${namesOf(pods)})`;
  return [which, ...bypassTexts(tally)].join('; ');
}

function whereOf({ via, name, port, target, guarded, pods }: Bypass): string {
  const past =
    target === guarded ? ', which bypasses the limiter' : `, which has no limiter (it serves port ${guarded})`;
  const to = `${target} of ${countOf(pods, 'pod')}${past}`;
  if (via === 'HeadlessService') return `callers of the headless Service ${name} dial port ${to}`;
  if (via === 'HostPort') return `hostPort ${port} leads to port ${to}`;
  if (via === 'EndpointSlice') return `endpoints of ${name}, a Service without a selector, have port ${to}`;
  return `port ${port} of Service ${name} targets port number ${to}`;
}

function mendOf({ via, target, guarded, portName }: Bypass): string {
  if (target !== guarded) return `annotate the pod template weir.dev/port: "${target}" and restart the pods`;
  const named = portName === undefined ? 'the name of that port' : `the name of that port (${portName})`;
  if (via === 'Service') return `set its targetPort to ${named}, or ${REDIRECT}`;
  if (via === 'HostPort') return 'restart the pods: then it leads to the limiter';
  if (via === 'EndpointSlice') return `use port 18080 of the limiter, or ${REDIRECT}`;
  return REDIRECT;
}
