// CLI: `weir stand-in`. Input: flags. Output: the stand-in model server on an address, until SIGTERM: a workload for
// trials that says at /count and /ledger what reached it.
import { Command } from 'commander';
import { createLogger, type LogLevel } from '../../lib/log.ts';
import { flag, LOG_LEVELS, parseListen } from '../flags/flags.ts';
import { startStandInModel } from './stand-in-model.ts';
import { terminationSignal, whenAborted } from '../termination.ts';

interface StandInFlags {
  readonly listen: { readonly host: string; readonly port: number };
  readonly logLevel: LogLevel;
}

/** `weir stand-in`: resolves when it was told to stop. */
export function standInCommand(): Command {
  return new Command('stand-in')
    .description('A model server for trials: answers OpenAI, Anthropic and MCP calls; /count, /ledger and /reset tell.')
    .addOption(
      flag('--listen <host:port>', 'WEIR_STAND_IN_LISTEN', 'where it answers')
        .default({ host: '127.0.0.1', port: 8000 }, '127.0.0.1:8000')
        .argParser(parseListen),
    )
    .addOption(flag('--log-level <level>', 'WEIR_LOG_LEVEL', 'how much to log').choices(LOG_LEVELS).default('info'))
    .action(run);
}

async function run(flags: StandInFlags): Promise<void> {
  const told = terminationSignal();
  const log = createLogger('stand-in', flags.logLevel);
  const server = await startStandInModel(flags.listen);
  log.info('stand-in model is ready', { url: server.url });
  await whenAborted(told);
  log.info('stand-in model is stopping', { requests: server.count() });
  await server.close();
}
