// What a sidecar lets pass because no route claims it: counted by endpoint, and reported by name when the server
// serves it.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { StandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';
import type { LimiterReport } from '../../../src/contract/limiter-report.ts';
import { StaticConfigSource } from '../../../src/limiter/config/config-source.ts';
import { LOOPBACK_FLEET, post, routeTo, startLimiter, startUpstream, versioned, type Running } from '../running.ts';
import { rule } from '../fixtures.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';

class ReportingSource extends StaticConfigSource {
  readonly reports: LimiterReport[] = [];
  report(report: LimiterReport): void {
    this.reports.push(report);
  }
}

let upstream: StandInModel;
let running: Running;
let source: ReportingSource;

const own = (name: string, ...models: string[]) => ({
  ...routeTo(upstream.url, {}, { models, rules: [rule({ targets: [] })] }),
  name,
});
const chat = (model: string): Promise<Response> =>
  post(`${running.traffic}/v1/chat/completions`, { model, messages: [] });
const unclaimed = async (): Promise<string[]> => {
  const text = await (await fetch(`${running.admin}/metrics`)).text();
  return text.split('\n').filter((line) => line.startsWith('weir_unclaimed_requests_total{'));
};
const reported = (names: readonly string[] | undefined): Promise<unknown> =>
  waitFor(
    'the report',
    () => {
      expect(source.reports.at(-1)?.unclaimed).toEqual(names);
      return true;
    },
    { deadlineMs: 20_000 },
  );

beforeEach(async () => {
  upstream = await startUpstream();
  source = new ReportingSource([LOOPBACK_FLEET, ...versioned(own('named', 'm'))]);
  running = await startLimiter([], { mode: 'sidecar', upstream: upstream.url, source });
});
afterEach(async () => {
  await running.close();
  await upstream.close();
});

test('is counted by endpoint, and what names no model or is claimed is not', async () => {
  await chat('other');
  await chat('m');
  await fetch(`${running.traffic}/health`);
  await post(`${running.traffic}/v1/embeddings`, { model: 'other', input: 'x' });
  await post(`${running.traffic}/some/path`, { model: 'other' });
  expect(await unclaimed()).toEqual([
    'weir_unclaimed_requests_total{endpoint="openai.chat"} 1',
    'weir_unclaimed_requests_total{endpoint="openai.embeddings"} 1',
    'weir_unclaimed_requests_total{endpoint="other"} 1',
  ]);
});

test('is reported by name until a route takes it', async () => {
  await chat('other');
  await chat('Other');
  await reported(['Other', 'other']);
  source.push({ updates: versioned(own('every', '*')), removals: [] });
  await reported(undefined);
  await chat('other');
  expect(await unclaimed()).toEqual(['weir_unclaimed_requests_total{endpoint="openai.chat"} 2']);
});
