// Limiter, proxy: may this target be dialled, and with which lookup? In: what is in force, an object's namespace, a
// target; out: the scope of its connections and their lookup, or a WeirError egress_refused.
import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { Target } from '../../contract/limiter-config.ts';
import { WeirError } from '../../lib/errors.ts';
import type { RuntimeInForce } from '../config/config-applier.ts';
import { hostOf, mayDial, targetProblem } from '../egress/egress.ts';
import { guardedLookup, isForbiddenAddress } from '../egress/guarded-lookup.ts';

/** How to connect to a target. */
export interface Dial {
  /** Connections are shared within a scope alone. */
  readonly scope: string;
  readonly lookup: LookupFunction;
}

/** A sidecar's own pod: dialled as its flags say, not as a manifest says. */
const OWN: Dial = { scope: 'own', lookup: systemLookup };

/** Checks targets once per egress policy. */
export class Dialer {
  readonly #ownTarget: Target | undefined;
  #generation = -1;
  #dials = new Map<string, Dial | WeirError>();

  constructor(ownTarget: Target | undefined) {
    this.#ownTarget = ownTarget;
  }

  /** @throws WeirError egress_refused */
  dial(inForce: RuntimeInForce, namespace: string, target: Target): Dial {
    if (this.isOwn(target)) return OWN;
    if (inForce.egressGeneration !== this.#generation) {
      this.#generation = inForce.egressGeneration;
      this.#dials = new Map();
    }
    const key = `${namespace} ${target.url}`;
    let dial = this.#dials.get(key);
    if (dial === undefined) {
      dial = check(inForce, namespace, target);
      this.#dials.set(key, dial);
    }
    if (dial instanceof WeirError) throw dial;
    return dial;
  }

  /** Whether a target is the server of the sidecar's own pod. */
  isOwn(target: Target): boolean {
    return target === this.#ownTarget;
  }

  /** Whether connections of `scope` may be kept under what is in force. */
  isCurrent(scope: string, inForce: RuntimeInForce): boolean {
    return scope === OWN.scope || scope.startsWith(`${inForce.egressGeneration} `);
  }
}

function check({ egress, egressGeneration }: RuntimeInForce, namespace: string, { url }: Target): Dial | WeirError {
  const accepts = (address: string): boolean => mayDial(egress, address);
  const problem = targetProblem(egress, namespace, url);
  if (problem !== undefined) return new WeirError('egress_refused', `the target ${problem}`);
  if (isForbiddenAddress(hostOf(new URL(url)), accepts)) return new WeirError('egress_refused');
  return { scope: `${egressGeneration} ${namespace}`, lookup: guardedLookup(accepts) };
}
