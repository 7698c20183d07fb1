// The executable `weir`: argv in, exit code out. 0 = done, 1 = failed while running, 2 = wrong flags or arguments.
import { Command, CommanderError } from 'commander';
import { messageOf } from '../lib/log.ts';
import { readSwitches } from './flags.ts';
import { ownVersion } from './version.ts';

/** Loaded one by one: a limiter never pays for the Kubernetes client, nor the operator for the Redis client. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  operator: async () => (await import('./operator-command.ts')).operatorCommand(),
  limiter: async () => (await import('./limiter-command.ts')).limiterCommand(),
  standalone: async () => (await import('./standalone-command.ts')).standaloneCommand(),
  'stand-in': async () => (await import('./stand-in-command.ts')).standInCommand(),
  grant: async () => (await import('./grant-command.ts')).grantCommand(),
  crds: async () => (await import('./crds-command.ts')).crdsCommand(),
  cleanup: async () => (await import('./cleanup-command.ts')).cleanupCommand(),
  validate: async () => (await import('./validate-command.ts')).validateCommand(),
};

const EXIT_USAGE = 2;

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('weir')
    .description('Rate limits for AI traffic on Kubernetes. Every flag can also be given by the environment.')
    .version(ownVersion())
    .hook('preAction', (_program, command) => {
      readSwitches(command);
    });
  const wanted = COMMANDS[argv[2] ?? ''];
  const loaders = wanted === undefined ? Object.values(COMMANDS) : [wanted];
  for (const load of loaders) program.addCommand(throwInsteadOfExit(await load()));
  if (argv.length <= 2) {
    program.outputHelp();
    return;
  }
  await throwInsteadOfExit(program).parseAsync([...argv]);
}

function throwInsteadOfExit(command: Command): Command {
  const name = command.name() === 'weir' ? 'weir' : `weir ${command.name()}`;
  return command.exitOverride().showHelpAfterError(`(try: ${name} --help)`);
}

try {
  await main(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  } else {
    console.error(`weir: ${messageOf(error)}`);
    process.exitCode = 1;
  }
}
