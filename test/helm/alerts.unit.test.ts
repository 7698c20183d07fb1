// Alerts and dashboard of the chart: every metric that they name exists, and there are cases for every alert.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { registerCertificateMetrics } from '../../src/controller/certificates/certificate-metrics.ts';
import { OperatorMetrics } from '../../src/controller/operator-metrics.ts';
import { LimiterMetrics } from '../../src/limiter/metrics.ts';
import { SKIPS } from '../../src/reconcile/injection/skips.ts';
import { ALERT_CASES, alertRules } from './alerts.ts';
import { CHART } from './helm.ts';

const RULES = alertRules();

const PANELS = (
  JSON.parse(readFileSync(join(CHART, 'files/dashboard.json'), 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  }
).panels;

test('there are cases for every alert', () => {
  expect(ALERT_CASES.map(({ alert }) => alert)).toEqual(RULES.map(({ alert }) => alert));
});

test('every metric of alerts and dashboard is one of the operator or the limiter', () => {
  const operator = new OperatorMetrics();
  operator.watch({
    queueDepth: () => ({}),
    connectedLimiters: () => 0,
    feeds: () => ({}),
    isLeader: () => true,
    isInjectionFaulty: () => false,
  });
  registerCertificateMetrics(operator.registry, { now: () => 0 } as never);
  const limiter = new LimiterMetrics();
  const metrics = [operator.registry, limiter.registry].map((registry) => registry.getMetricsAsArray());
  const known = new Set(metrics.flat().map(({ name }) => name));
  const named = [...RULES.map(({ expr }) => expr), ...PANELS.flatMap(({ targets }) => targets.map(({ expr }) => expr))]
    .flatMap((expr) => expr.match(/weir_\w+/g) ?? [])
    .map((name) => name.replace(/_(bucket|sum|count)$/, ''));
  expect([...new Set(named)].filter((name) => !known.has(name))).toEqual([]);
});

test('every reason of a skipped pod that an alert names is one of the injector', () => {
  const reasons = RULES.flatMap(({ expr }) =>
    [...expr.matchAll(/skipped_pods\{reason!?="(\w+)"/g)].map(([, word]) => word),
  );
  expect(reasons).toEqual(['NotSeen', 'NotSeen']);
  expect(Object.keys(SKIPS)).toContain('NotSeen');
});

test('the dashboard is JSON that names a metric in each panel', () => {
  expect(PANELS.length).toBeGreaterThan(10);
  for (const { targets } of PANELS) for (const { expr } of targets) expect(expr).toContain('weir_');
});
