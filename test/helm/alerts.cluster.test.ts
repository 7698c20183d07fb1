// The alerts of the chart, as Prometheus evaluates them: it takes the rules, each alert fires when it should and is
// quiet otherwise (`promtool test rules`).
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { ALERT_CASES, ALERTS, alertRules } from './alerts.ts';

const RULES = alertRules();

function suite(): void {
  let folder = '';

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'weir-alerts-'));
    copyFileSync(ALERTS, join(folder, 'alerts.yaml'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test('are rules that Prometheus takes', () => {
    const said = execFileSync('promtool', ['check', 'rules', join(folder, 'alerts.yaml')], { encoding: 'utf8' });
    expect(said).toContain(`SUCCESS: ${RULES.length} rules found`);
  });

  test('fire when they should, and are quiet otherwise', () => {
    const inputs = (series: Readonly<Record<string, string>>): object[] =>
      Object.entries(series).map(([name, values]) => ({ series: name, values }));
    const tests = ALERT_CASES.flatMap(({ alert, fires, quiet, after, labels }) => {
      const severity = RULES.find((rule) => rule.alert === alert)?.labels['severity'] ?? '';
      const shown = (own: Readonly<Record<string, string>>): string =>
        Object.entries({ alertname: alert, alertstate: 'firing', severity, ...own })
          .map(([name, value]) => `${name}="${value}"`)
          .join(', ');
      const expr = `ALERTS{alertname="${alert}", alertstate="firing"}`;
      const expected = labels.map((own) => ({ labels: `ALERTS{${shown(own)}}`, value: 1 }));
      const look = (exp_samples: readonly object[]): object[] => [{ expr, eval_time: `${after}m`, exp_samples }];
      return [
        { name: `${alert} fires`, interval: '1m', input_series: inputs(fires), promql_expr_test: look(expected) },
        { name: `${alert} is quiet`, interval: '1m', input_series: inputs(quiet), promql_expr_test: look([]) },
      ];
    });
    const file = join(folder, 'tests.yaml');
    writeFileSync(file, stringify({ rule_files: ['alerts.yaml'], evaluation_interval: '1m', tests }));
    const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' });
    expect({ status, said: status === 0 ? '' : stdout + stderr }).toEqual({ status: 0, said: '' });
  }, 60_000);
}

if (spawnSync('promtool', ['--version']).status === 0) describe('the alerts of the chart', suite);
else leaveOut('the alerts of the chart', 'no promtool on the PATH: `make system-deps` installs it', suite);
