// Controller: certificates as Prometheus sees them. Input: what their keeper knows. Output: gauges, read when asked.
import { Gauge, type Registry } from 'prom-client';

export interface CertificateView {
  /** When the served certificate ends, ms since the epoch; undefined: there is none yet. */
  readonly leafEndsMs: () => number | undefined;
  /** When the first of the CAs that callers are to trust ends that has not ended. */
  readonly caEndsMs: () => number | undefined;
  readonly hasFault: () => boolean;
  /** Namespaces and webhook configurations that lack the bundle. */
  readonly undistributed: () => number;
}

export function registerCertificateMetrics(registry: Registry, view: CertificateView): void {
  const ends = { leaf: view.leafEndsMs, ca: view.caEndsMs };
  new Gauge({
    name: 'weir_certificate_expiry_timestamp_seconds',
    help: 'When the served certificate (leaf) and the CA that signed it (ca) expire, in seconds since 1970.',
    labelNames: ['certificate'],
    registers: [registry],
    collect() {
      for (const [certificate, read] of Object.entries(ends)) {
        const endsMs = read();
        if (endsMs !== undefined) this.set({ certificate }, endsMs / 1000);
      }
    },
  });
  new Gauge({
    name: 'weir_certificate_faults',
    help: '1: the Secret or folder holds an invalid certificate; the last good one is served.',
    registers: [registry],
    collect() {
      this.set(view.hasFault() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'weir_ca_undistributed',
    help: 'Namespaces and webhook configurations that do not have the current CA bundle; 0 on operators that do not hold the Lease.',
    registers: [registry],
    collect() {
      this.set(view.undistributed());
    },
  });
}
