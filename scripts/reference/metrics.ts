// Reference: the metrics; in: the registries of limiter and operator, out: docs/reference/metrics.md.
import type { MetricObject, Registry } from 'prom-client';
import { registerCertificateMetrics } from '../../src/controller/certificates/certificate-metrics.ts';
import { OperatorMetrics } from '../../src/controller/operator-metrics.ts';
import { LimiterMetrics } from '../../src/limiter/metrics.ts';
import { code, page, prose, table } from './markdown.ts';

/** prom-client keeps the names of the labels, and does not say so in its types. */
type Registered = MetricObject & { readonly labelNames?: readonly string[] };

export function metricsPage(): string {
  return page('Metrics', 'the metrics that limiter and operator register', [
    'Prometheus text at `/metrics` of the admin port. The operator also exports the usual metrics of a Node.js process (`process_*`, `nodejs_*`).',
    '## Limiter',
    tableOf(limiterRegistry()),
    '## Operator',
    tableOf(operatorRegistry()),
  ]);
}

/** The limiter's registry with the figures that it reads on demand. */
function limiterRegistry(): Registry {
  const metrics = new LimiterMetrics();
  metrics.watchBodies({ heldBytes: 0, refusedBodies: 0 });
  return metrics.registry;
}

/** The operator's registry with everything that it reads on demand; nothing is read here. */
function operatorRegistry(): Registry {
  const metrics = new OperatorMetrics();
  metrics.watch({
    queueDepth: () => ({}),
    connectedLimiters: () => 0,
    feeds: () => ({}),
    isLeader: () => false,
    isInjectionFaulty: () => false,
  });
  registerCertificateMetrics(metrics.registry, {
    leafEndsMs: () => undefined,
    caEndsMs: () => undefined,
    hasFault: () => false,
    undistributed: () => 0,
  });
  return metrics.registry;
}

function tableOf(registry: Registry): string {
  const metrics = registry.getMetricsAsArray() as readonly Registered[];
  const rows = metrics
    .filter(({ name }) => name.startsWith('weir_'))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, help, type, labelNames = [] }) => [
      code(name),
      String(type),
      labelNames.map(code).join(', '),
      prose(help),
    ]);
  return table(['metric', 'type', 'labels', 'meaning'], rows);
}
