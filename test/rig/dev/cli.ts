// Dev stack, by hand: `make dev-up` and `make dev-down`. In: a subcommand; out: the stack up, down, or one of its
// processes started again.
import { relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { projectFolder } from '../stack/cluster-access.ts';
import { CannotStart, devDown, devUp, findDevStack, isWhole, writeEnvironment, type DevStack } from './dev-stack.ts';

const usage = `Usage: node test/rig/dev/cli.ts <command> [name] [--folder DIR]

  up               etcd, kube-apiserver, Redis, the operator, two limiters and a counting upstream, on loopback
  down             end them
  status           which of them run; writes env again
  restart <name>   end one (operator, limiter1, limiter2, redis, upstream, etcd, kube-apiserver) and start it again, on
                   the same port and data; writes env again

  --folder DIR     where everything is (default .run): env, and a log and a start script (<name>.cmd) for each process
`;

class UsageError extends Error {}

/** What a command acts on, and the name it was given. */
interface Given {
  readonly folder: string;
  readonly name: string | undefined;
}

const commands: Record<string, (given: Given) => Promise<void> | void> = {
  help: () => {
    print(usage);
  },
  up: async ({ folder }) => {
    endOnInterrupt(folder);
    const begin = performance.now();
    const there = await findDevStack(folder);
    if (there && isWhole(there)) {
      await writeEnvironment(there);
      print('Weir is up already.');
      printStack(there);
      return;
    }
    const dev = await devUp(folder, print);
    print(`Weir is up after ${((performance.now() - begin) / 1000).toFixed(1)} s.`);
    printStack(dev);
  },
  down: async ({ folder }) => {
    print((await devDown(folder)) ? 'ended what dev-up had started' : 'nothing was running');
  },
  status: async ({ folder }) => {
    const dev = await mustFind(folder);
    await writeEnvironment(dev);
    printStack(dev);
  },
  restart: async ({ folder, name = '' }) => {
    const dev = await mustFind(folder);
    const { plane, stack } = dev;
    const names = [...stack.names(), 'etcd', 'kube-apiserver'];
    if (!names.includes(name)) throw new UsageError(`name one of: ${names.join(', ')}`);
    const server = { etcd: plane.etcd, 'kube-apiserver': plane.apiServer }[name] ?? stack.server(name);
    await server.restart();
    await writeEnvironment(dev);
    print(`${name} runs again as ${server.pid() ?? 'nothing'}; source ${shown(folder)}/env again`);
  },
};

async function mustFind(folder: string): Promise<DevStack> {
  const dev = await findDevStack(folder);
  if (!dev) throw new CannotStart('nothing is up here; to enable: make dev-up');
  return dev;
}

function printStack({ facts, stack, plane }: DevStack): void {
  const pid = (name: string): string => String(stack.server(name).pid() ?? 'ended');
  const folder = shown(stack.folder);
  print(`
  L1        ${facts.limiters[0]}   limiter1, pid ${pid('limiter1')}, admin ${facts.admins[0]}
  L2        ${facts.limiters[1]}   limiter2, pid ${pid('limiter2')}, admin ${facts.admins[1]}
  UP        ${facts.upstream}   upstream, pid ${pid('upstream')}: /count, /ledger
  operator  ${facts.operatorAdmin}   pid ${pid('operator')}: /readyz, /metrics
  Redis     127.0.0.1:${facts.redisPort}          pid ${pid('redis')}
  API       ${plane.server}  pid ${plane.apiServer.pid() ?? 'ended'}
  logs and start scripts: ${folder}/<name>.log, ${folder}/<name>.cmd

Try:
  source ${folder}/env
  kubectl apply -f ${folder}/route.yaml && kubectl wait -n try modelroutes.weir.dev/chat --for=condition=Ready
  for i in {1..7}; do curl -s -o /dev/null -w '%{http_code}\\n' $L1/try/chat/v1/chat/completions -d '{"model":"chat"}'; done
  kubectl describe -n try modelroutes.weir.dev chat

make dev-down ends it all.`);
}

function shown(folder: string): string {
  return relative(process.cwd(), folder) || '.';
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Whoever interrupts a start gets what was started so far ended. */
function endOnInterrupt(folder: string): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      process.stderr.write('interrupted: ending what was started\n');
      void devDown(folder).finally(() => process.exit(130));
    });
  }
}

function parse(): { readonly command: (given: Given) => Promise<void> | void; readonly given: Given } {
  const options = { folder: { type: 'string', default: '.run' }, help: { type: 'boolean', default: false } } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const [word = '', name, ...rest] = values.help ? ['help'] : positionals;
  const command = Object.hasOwn(commands, word) ? commands[word] : undefined;
  if (!command || rest.length > 0) throw new UsageError(`unknown command: ${positionals.join(' ')}`);
  return { command, given: { folder: resolve(projectFolder, values.folder), name } };
}

async function main(): Promise<number> {
  try {
    const { command, given } = parse();
    await command(given);
    return 0;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    const isUsage = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS');
    if (!isUsage) return 1;
    process.stderr.write(`\n${usage}`);
    return 2;
  }
}

process.exitCode = await main();
