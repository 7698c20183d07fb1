// Test data: for each alert of the chart series with which it fires after `after` minutes, with these labels and
// value, and series with which it never does. In the notation of promtool: start+step x times.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { CHART } from './helm.ts';

export const ALERTS = join(CHART, 'files/alerts.yaml');

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Of all groups, in their order. */
export function alertRules(): AlertRule[] {
  const { groups } = parse(readFileSync(ALERTS, 'utf8')) as {
    groups: readonly { readonly rules: readonly AlertRule[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

export interface AlertCase {
  readonly alert: string;
  readonly fires: Readonly<Record<string, string>>;
  /** Minutes. */
  readonly after: number;
  /** Labels of the alert beside its name and severity, one set for each alert. */
  readonly labels: readonly Readonly<Record<string, string>>[];
  readonly quiet: Readonly<Record<string, string>>;
}

const POD = 'namespace="ns", pod="p"';
const ON_POD = { namespace: 'ns', pod: 'p' };

export const ALERT_CASES: readonly AlertCase[] = [
  {
    alert: 'WeirNoLeader',
    fires: { [`weir_is_leader{${POD}}`]: '0x30' },
    after: 3,
    labels: [{}],
    quiet: { [`weir_is_leader{${POD}}`]: '1x30', 'weir_is_leader{namespace="ns", pod="q"}': '0x30' },
  },
  {
    alert: 'WeirTwoLeaders',
    fires: { [`weir_is_leader{${POD}}`]: '1x30', 'weir_is_leader{namespace="ns", pod="q"}': '1x30' },
    after: 3,
    labels: [{}],
    quiet: { [`weir_is_leader{${POD}}`]: '1x30' },
  },
  {
    alert: 'WeirConfigRejected',
    fires: { [`weir_push_nacks_total{${POD}}`]: '0x5 1x30' },
    after: 10,
    labels: [ON_POD],
    quiet: { [`weir_push_nacks_total{${POD}}`]: '5x30' },
  },
  {
    alert: 'WeirReconcileFailing',
    fires: { [`weir_reconciles_total{result="failed", ${POD}}`]: '0+1x60' },
    after: 25,
    labels: [ON_POD],
    quiet: { [`weir_reconciles_total{result="failed", ${POD}}`]: '3x60' },
  },
  {
    alert: 'WeirQueueStuck',
    fires: { [`weir_queue_depth{queue="reconcile", ${POD}}`]: '500x60' },
    after: 30,
    labels: [{ queue: 'reconcile', ...ON_POD }],
    quiet: { [`weir_queue_depth{queue="reconcile", ${POD}}`]: '500x5 0 500x5 0 500x5 0 500x40' },
  },
  {
    alert: 'WeirWatchInterrupted',
    fires: { [`weir_watch_failures{type="pods", ${POD}}`]: '0+2x60' },
    after: 30,
    labels: [{ type: 'pods', ...ON_POD }],
    quiet: { [`weir_watch_failures{type="pods", ${POD}}`]: '0x10 5x50' },
  },
  {
    alert: 'WeirHandlerErrors',
    fires: { [`weir_handler_errors{type="pods", ${POD}}`]: '0x5 1x30' },
    after: 10,
    labels: [{ type: 'pods', ...ON_POD }],
    quiet: { [`weir_handler_errors{type="pods", ${POD}}`]: '1x30' },
  },
  {
    alert: 'WeirPushSlow',
    fires: {
      'weir_push_latency_seconds_bucket{le="5"}': '0x60',
      'weir_push_latency_seconds_bucket{le="10"}': '0+10x60',
      'weir_push_latency_seconds_bucket{le="+Inf"}': '0+10x60',
    },
    after: 30,
    labels: [{}],
    quiet: {
      'weir_push_latency_seconds_bucket{le="5"}': '0+10x60',
      'weir_push_latency_seconds_bucket{le="10"}': '0+10x60',
      'weir_push_latency_seconds_bucket{le="+Inf"}': '0+10x60',
    },
  },
  {
    alert: 'WeirCertificateExpires',
    fires: { [`weir_certificate_expiry_timestamp_seconds{certificate="leaf", ${POD}}`]: '500000x90' },
    after: 70,
    labels: [{ certificate: 'leaf', ...ON_POD }],
    quiet: {
      [`weir_certificate_expiry_timestamp_seconds{certificate="leaf", ${POD}}`]: '900000x90',
      [`weir_certificate_expiry_timestamp_seconds{certificate="ca", ${POD}}`]: '500000x90',
    },
  },
  {
    alert: 'WeirCertificateFaulty',
    fires: { [`weir_certificate_faults{${POD}}`]: '1x30' },
    after: 15,
    labels: [ON_POD],
    quiet: { [`weir_certificate_faults{${POD}}`]: '0x30' },
  },
  {
    alert: 'WeirCaUndistributed',
    fires: { [`weir_ca_undistributed{${POD}}`]: '2x30' },
    after: 20,
    labels: [ON_POD],
    quiet: { [`weir_ca_undistributed{${POD}}`]: '2x5 0x30' },
  },
  {
    alert: 'WeirObjectsNotReady',
    fires: {
      'weir_operator_objects{kind="ModelRoute", ready="false", reason="NoLimiters"}': '3x30',
      'weir_operator_objects{kind="MCPServer", ready="false", reason="Invalid"}': '1x30',
    },
    after: 15,
    labels: [
      { kind: 'ModelRoute', reason: 'NoLimiters' },
      { kind: 'MCPServer', reason: 'Invalid' },
    ],
    quiet: {
      'weir_operator_objects{kind="ModelRoute", ready="true", reason="Ready"}': '20x30',
      'weir_operator_objects{kind="ModelRoute", ready="false", reason="Pending"}': '1x5 _x25',
    },
  },
  {
    alert: 'WeirLimitersOutOfSync',
    fires: {
      'weir_operator_object_limiters{object="ModelRoute/a/b", state="desired"}': '20x30',
      'weir_operator_object_limiters{object="ModelRoute/a/b", state="synced"}': '19x30',
    },
    after: 15,
    labels: [{ object: 'ModelRoute/a/b' }],
    quiet: {
      'weir_operator_object_limiters{object="ModelRoute/a/b", state="desired"}': '20x30',
      'weir_operator_object_limiters{object="ModelRoute/a/b", state="synced"}': '19x5 20x30',
    },
  },
  {
    alert: 'WeirPodsUnlimited',
    fires: { 'weir_operator_skipped_pods{reason="NotSeen"}': '2x30' },
    after: 20,
    labels: [{}],
    quiet: { 'weir_operator_skipped_pods{reason="NotSeen"}': '2x5 _x30', weir_operator_unlimited_pods: '0x30' },
  },
  {
    alert: 'WeirPodsSkipped',
    fires: { 'weir_operator_skipped_pods{reason="HostNetwork"}': '1x30' },
    after: 20,
    labels: [{ reason: 'HostNetwork' }],
    quiet: { 'weir_operator_skipped_pods{reason="NotSeen"}': '2x30' },
  },
  {
    alert: 'WeirPodsBypassed',
    fires: { [`weir_operator_bypassed_pods{${POD}}`]: '2x30' },
    after: 20,
    labels: [{}],
    quiet: { [`weir_operator_bypassed_pods{${POD}}`]: '0x30' },
  },
  {
    alert: 'WeirStoreUnreachable',
    fires: { [`weir_store_circuit_open{endpoint="redis:6379", ${POD}}`]: '1x30' },
    after: 5,
    labels: [{ endpoint: 'redis:6379', ...ON_POD }],
    quiet: { [`weir_store_circuit_open{endpoint="redis:6379", ${POD}}`]: '1 0x30' },
  },
  {
    alert: 'WeirDecisionsDegraded',
    fires: { 'weir_decisions_total{object="o", degraded="Local"}': '0+5x30' },
    after: 15,
    labels: [{ object: 'o' }],
    quiet: { 'weir_decisions_total{object="o", degraded=""}': '0+5x30' },
  },
  {
    alert: 'WeirLimiterUnconfigured',
    fires: { [`weir_configured{${POD}}`]: '0x30' },
    after: 10,
    labels: [ON_POD],
    quiet: { [`weir_configured{${POD}}`]: '0x2 1x30' },
  },
  {
    alert: 'WeirLimiterDisconnected',
    fires: { [`weir_operator_connected{${POD}}`]: '0x30' },
    after: 15,
    labels: [ON_POD],
    quiet: { [`weir_operator_connected{${POD}}`]: '0x5 1x30' },
  },
  {
    alert: 'WeirDecisionsSlow',
    fires: {
      [`weir_decision_seconds_bucket{le="0.05", ${POD}}`]: '0x30',
      [`weir_decision_seconds_bucket{le="0.1", ${POD}}`]: '0+60x30',
      [`weir_decision_seconds_bucket{le="+Inf", ${POD}}`]: '0+60x30',
    },
    after: 20,
    labels: [ON_POD],
    quiet: {
      [`weir_decision_seconds_bucket{le="0.05", ${POD}}`]: '0+60x30',
      [`weir_decision_seconds_bucket{le="0.1", ${POD}}`]: '0+60x30',
      [`weir_decision_seconds_bucket{le="+Inf", ${POD}}`]: '0+60x30',
    },
  },
  {
    alert: 'WeirStoreTrouble',
    fires: { [`weir_store_trouble_total{kind="wrong-type", ${POD}}`]: '0x5 1x30' },
    after: 10,
    labels: [{ kind: 'wrong-type', ...ON_POD }],
    quiet: { [`weir_store_trouble_total{kind="wrong-type", ${POD}}`]: '1x30' },
  },
  {
    alert: 'WeirKeyOverflow',
    fires: { 'weir_key_overflow_total{object="o", limit="l"}': '0x5 1x30' },
    after: 10,
    labels: [{ object: 'o', limit: 'l' }],
    quiet: { 'weir_key_overflow_total{object="o", limit="l"}': '9x30' },
  },
];
