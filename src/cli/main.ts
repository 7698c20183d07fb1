// CLI: the executable `weir`. Input: argv. Output: exit code 0 = done, 1 = failed while running, 2 = wrong flags or
// arguments.
import { Command, CommanderError } from 'commander';
import { OBJECT_KINDS } from '../contract/limiter-config.ts';
import { messageOf } from '../lib/thrown.ts';
import { readSwitches } from './flags/flags.ts';
import { ownVersion } from './version.ts';

interface Subcommand {
  /** Its line in `weir --help`. */
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

/** Loaded one by one: a limiter never pays for the Kubernetes client, nor the operator for the Redis client. */
const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = {
  demo: {
    summary: 'Show Weir on this machine in a minute: no cluster, no Redis.',
    load: async () => (await import('./demo/demo-command.ts')).demoCommand(),
  },
  operator: {
    summary: `Watch ${OBJECT_KINDS.join(' and ')} objects, configure limiters, report in the status what is in force.`,
    load: async () => (await import('./operator-command.ts')).operatorCommand(),
  },
  limiter: {
    summary: 'Enforce limits: a proxy for models and MCP servers, and an API that decides for everything else.',
    load: async () => (await import('./limiter-command.ts')).limiterCommand(),
  },
  standalone: {
    summary: 'Operator and limiter in one process, from a folder of manifests: no cluster, no Redis needed.',
    load: async () => (await import('./standalone-command.ts')).standaloneCommand(),
  },
  validate: {
    summary: 'Say what the API server and the operator would say of manifests, without a cluster.',
    load: async () => (await import('./validate-command.ts')).validateCommand(),
  },
  grant: {
    summary: 'Print the Roles with which a namespace lets the operator read the Secrets that it names.',
    load: async () => (await import('./grant-command.ts')).grantCommand(),
  },
  crds: {
    summary: 'Install the kinds (CustomResourceDefinitions), or widen those that are there.',
    load: async () => (await import('./crds-command.ts')).crdsCommand(),
  },
  leave: {
    summary: 'Before an uninstall: report the objects that exist, and hand limits over to the limiters.',
    load: async () => (await import('./leave-command.ts')).leaveCommand(),
  },
  cleanup: {
    summary: 'After an uninstall: remove what operators made while they ran.',
    load: async () => (await import('./cleanup-command.ts')).cleanupCommand(),
  },
  'stand-in': {
    summary: 'A model server for trials: answers OpenAI, Anthropic and MCP calls, and counts them.',
    load: async () => (await import('./stand-in/stand-in-command.ts')).standInCommand(),
  },
};

const EXIT_USAGE = 2;
/** As a shell tells the end by SIGPIPE. */
const EXIT_NO_READER = 141;

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('weir')
    .description('Rate limits for AI traffic on Kubernetes. Every flag can also be given by the environment.')
    .version(ownVersion())
    .hook('preAction', (_program, command) => {
      readSwitches(command);
    });
  // `weir help operator` is about the operator, too.
  const wanted = argv[2] === 'help' ? argv[3] : argv[2];
  for (const [name, { summary, load }] of Object.entries(SUBCOMMANDS)) {
    const command = name === wanted ? await load() : new Command(name);
    program.addCommand(throwInsteadOfExit(command.summary(summary)));
  }
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

// `weir validate manifests | head`: whoever read it has what they wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT_NO_READER);
});

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
