// CLI, demo, story: Weir on this machine, step by step. In: a folder of manifests; out: what passed, what was
// refused, by which limit and when it may pass again, and whether the upstream's count equals what the answers said.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { kindOf } from '../../crd/kinds/kinds.ts';
import { type DemoEdit, DemoManifests, type DemoObject } from './manifests.ts';
import { bold, dim, green, heading, line, marks, red, yellow } from './screen.ts';
import { DemoServers, type WeirAddresses } from './servers.ts';
import { type DemoAnswer, callerHeaders, callModel, callsFor, McpSession, toolsOf } from './traffic.ts';
import { readProblems, readStatuses, readVersions, type DemoStatus } from './statuses.ts';
import { whenAborted } from '../termination.ts';

const FORCE_DEADLINE_MS = 10_000;

interface Stage {
  readonly servers: DemoServers;
  readonly weir: WeirAddresses;
  readonly manifests: DemoManifests;
}

let wrong = 0;

/** A fact that must hold for the demo to be honest. */
function expectEqual(what: string, expected: number, actual: number): void {
  if (expected === actual) return;
  wrong += 1;
  line(red(`${what}: expected ${expected}, counted ${actual}`));
}

function pathOf(weir: WeirAddresses, object: DemoObject): string {
  const prefix = object.spec['pathPrefix'];
  return `${weir.traffic}${typeof prefix === 'string' ? prefix.replace(/\/$/, '') : `/${object.namespace}/${object.name}`}`;
}

function report(who: string, answers: readonly DemoAnswer[], upstream: number): void {
  const passed = answers.filter((answer) => answer.passed);
  const refused = answers.filter((answer) => !answer.passed);
  line(
    `${who}: sent ${answers.length}, ${green(`passed ${passed.length}`)} (the upstream counted ${upstream}), ${red(`refused ${refused.length}`)} ${marks(answers.map((answer) => answer.passed))}`,
  );
  const byLimit = Map.groupBy(refused, (answer) => answer.by ?? answer.what);
  for (const [limit, ones] of byLimit) {
    const wait = ones.at(-1)?.retryAfter;
    line(`    ${red(String(ones.length))} by ${bold(limit)}${wait === undefined ? '' : `; retry in ${yellow(wait)}`}`);
  }
  const [first] = refused;
  if (first !== undefined) line(dim(`    e.g. ${first.what.slice(0, 150)}`));
}

async function driveModel({ servers, weir }: Stage, object: DemoObject, user: string): Promise<void> {
  const before = servers.upstream.count();
  const answers: DemoAnswer[] = [];
  for (let call = callsFor(object); call > 0; call -= 1)
    answers.push(await callModel(pathOf(weir, object), object, user));
  const upstream = servers.upstream.count() - before;
  report(user, answers, upstream);
  expectEqual('requests at the upstream', answers.filter((answer) => answer.passed).length, upstream);
}

async function driveMcp({ servers, weir }: Stage, object: DemoObject, user: string): Promise<void> {
  const session = await McpSession.open(pathOf(weir, object), object, user);
  for (const { name, input } of toolsOf(object, await session.tools())) {
    const before = toolCalls(servers);
    const answers: DemoAnswer[] = [];
    for (let call = callsFor(object); call > 0; call -= 1) answers.push(await session.call(name, input));
    const upstream = toolCalls(servers) - before;
    report(`${user} calls ${name}`, answers, upstream);
    expectEqual('tool calls at the upstream', answers.filter((answer) => answer.passed).length, upstream);
  }
}

function toolCalls({ upstream }: DemoServers): number {
  return upstream.ledger().filter(({ rpcMethod }) => rpcMethod === 'tools/call').length;
}

async function drive(stage: Stage, object: DemoObject, user: string): Promise<void> {
  try {
    await (kindOf(object.kind).namesModels ? driveModel(stage, object, user) : driveMcp(stage, object, user));
  } catch (error) {
    line(red(`${user}: ${error instanceof Error ? error.message : String(error)}`));
  }
}

function nameOf(object: DemoObject): string {
  return `${object.kind}/${object.namespace}/${object.name}`;
}

function showStatus(object: DemoObject, statuses: ReadonlyMap<string, DemoStatus>): boolean {
  const status = statuses.get(nameOf(object));
  heading(nameOf(object));
  if (status === undefined) {
    line(red('refused: see above'));
    return false;
  }
  const ready = status.ready ? green('Ready') : red(`not Ready: ${status.reason}`);
  line(`${ready}, limiters ${status.limiters}${status.message === '' ? '' : dim(`  ${status.message}`)}`);
  return status.limiters !== '0/0' && status.inForce;
}

/** Waits until the operator knows of each object whether it is in effect or why not. */
async function waitSettled({ weir, manifests }: Stage): Promise<Map<string, DemoStatus>> {
  const deadline = performance.now() + FORCE_DEADLINE_MS;
  for (;;) {
    const statuses = await readStatuses(weir.operatorAdmin);
    const problems = await readProblems(weir.operatorAdmin);
    const settled = manifests.objects().every((object) => statuses.get(nameOf(object))?.settled ?? problems.length > 0);
    if (settled || performance.now() > deadline) return statuses;
    await delay(20);
  }
}

/** Waits until the limiter runs another version of the object than before; answers the ms since the edit. */
async function waitInForce(weir: WeirAddresses, edit: DemoEdit, version: string | undefined): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < FORCE_DEADLINE_MS) {
    const now = (await readVersions(weir.limiterAdmin)).get(nameOf(edit.object));
    if (now !== undefined && now !== version) return performance.now() - began;
    await delay(5);
  }
  throw new Error(`the edit of ${nameOf(edit.object)} did not take effect within ${FORCE_DEADLINE_MS / 1000} s`);
}

async function tell(stage: Stage): Promise<void> {
  const statuses = await waitSettled(stage);
  for (const problem of await readProblems(stage.weir.operatorAdmin)) line(red(problem));
  for (const object of stage.manifests.objects()) {
    if (!showStatus(object, statuses)) continue;
    await drive(stage, object, 'ann');
    if (Object.keys(callerHeaders(object, 'ann')).length > 0) await drive(stage, object, 'bob');
  }
  const versions = await readVersions(stage.weir.limiterAdmin);
  const edit = stage.manifests.raiseLimits();
  if (edit === undefined) return;
  heading(`An edit while everything runs: ${nameOf(edit.object)}`);
  for (const { path, from, to } of edit.changes) line(`${path}: ${from} -> ${to}`);
  const ms = await waitInForce(stage.weir, edit, versions.get(nameOf(edit.object)));
  line(
    `took effect at the limiter after ${ms.toFixed(0)} ms; used amounts are kept, so the difference is available now`,
  );
  await drive(stage, edit.object, 'ann');
}

function showCurl(stage: Stage): void {
  heading('The servers keep running. Try:');
  for (const object of stage.manifests.objects()) {
    const headers = Object.entries(callerHeaders(object, 'carl'))
      .map(([name, value]) => `-H '${name}: ${value}' `)
      .join('');
    const base = pathOf(stage.weir, object);
    if (kindOf(object.kind).namesModels) {
      const model = (object.spec['modelName'] ?? (object.spec['loraAdapters'] as string[] | undefined)?.[0]) as string;
      line(
        `curl -i ${headers}-H 'content-type: application/json' ${base}/v1/chat/completions -d '{"model":"${model}","messages":[{"role":"user","content":"hi"}]}'`,
      );
    } else {
      line(`an MCP client at ${base}/mcp`);
    }
  }
  line(`curl ${stage.weir.operatorAdmin}/status`);
  line(`curl ${stage.weir.limiterAdmin}/metrics`);
  line(`curl ${stage.servers.upstream.url}/count`);
  line('Edit these manifests and see the result. Press Ctrl-C to stop.');
}

/**
 * Runs the demo.
 * @param source folder of manifests
 * @param stopped when given, the servers stay up until it is aborted
 * @returns true when every count agrees with the upstream's
 */
export async function runDemo(source: string, stopped?: AbortSignal): Promise<boolean> {
  const work = mkdtempSync(join(tmpdir(), 'weir-demo-'));
  const logs = join(work, 'logs');
  mkdirSync(logs);
  const servers = await DemoServers.start(logs);
  try {
    heading(`Weir, standalone: no cluster, no Redis. Manifests: ${source}`);
    const folder = join(work, 'manifests');
    const manifests = new DemoManifests(source, folder, servers.upstream.url);
    line(dim('targets are a stand-in server that answers like a model and an MCP server; buckets are in memory'));
    const stage: Stage = { servers, manifests, weir: await servers.startWeir(folder, work) };
    await tell(stage);
    if (stopped !== undefined) {
      showCurl(stage);
      line(dim(`manifests: ${folder}   logs: ${logs}`));
      await whenAborted(stopped);
    }
  } finally {
    await servers.close();
    rmSync(work, { recursive: true, force: true });
  }
  heading(wrong === 0 ? green('Every count agrees with the upstream.') : red(`${wrong} counts do not agree.`));
  return wrong === 0;
}
