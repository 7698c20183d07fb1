// Controller: where a port gets its certificate from, and hears that there is a newer one. Input: PEM from a folder
// or a Secret. Output: the present pair with the CAs to check it against, and a call for each change.
import type { TlsPair } from '../push/push-credentials.ts';

/** What a port serves and what its callers must trust, PEM. */
export interface ServedCertificate extends TlsPair {
  readonly cert: string;
  readonly key: string;
  /** Every CA that callers must trust now, concatenated; '' if the certificate came without one. */
  readonly caBundle: string;
}

/** Only to be asked once the source was started: then there always is a certificate. */
export interface CertificateSource {
  current(): ServedCertificate;
  /** Calls `listener` after each change. @returns a function that calls it off. */
  onChange(listener: () => void): () => void;
}

/**
 * Sees to it that the CA can be mounted by pods of the namespace. Never rejects: the admission of a pod does not wait
 * for long.
 */
export type EnsureCaConfigMap = (namespace: string) => Promise<void>;

/** A source that holds what it is given. */
export class CertificateHolder implements CertificateSource {
  readonly #listeners = new Set<() => void>();
  #held: ServedCertificate | undefined;

  constructor(first?: ServedCertificate) {
    this.#held = first;
  }

  get isEmpty(): boolean {
    return this.#held === undefined;
  }

  current(): ServedCertificate {
    if (this.#held === undefined) throw new Error('there is no certificate yet: start its source first');
    return this.#held;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** An equal value is not a change. @returns whether it was one. */
  set(next: ServedCertificate): boolean {
    const { cert, key, caBundle } = this.#held ?? {};
    if (next.cert === cert && next.key === key && next.caBundle === caBundle) return false;
    this.#held = next;
    for (const listener of [...this.#listeners]) listener();
    return true;
  }
}
