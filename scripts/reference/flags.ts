// Reference: the commands; in: their definitions, out: docs/reference/flags.md with every flag and environment
// variable.
import { globSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command, Option } from 'commander';
import { code, page, prose, table } from './markdown.ts';

const FOLDER = new URL('../../src/cli/', import.meta.url);

export async function flagsPage(): Promise<string> {
  const files = globSync('**/*-command.ts', { cwd: FOLDER });
  const commands = await Promise.all(files.map(load));
  return page('Commands and flags', 'the commands in src/cli', [
    'Every flag that names a variable can also be given by the environment; the command line wins. `weir <command> --help` shows the same.',
    ...commands.sort((a, b) => (a.name() < b.name() ? -1 : 1)).flatMap(blocksOf),
  ]);
}

/** `limiter-command.ts` exports `limiterCommand`. */
async function load(file: string): Promise<Command> {
  const name = basename(file, '.ts').replace(/-(\w)/g, (_dash, letter: string) => letter.toUpperCase());
  const module = (await import(new URL(file, FOLDER).href)) as Readonly<Record<string, () => Command>>;
  const make = module[name];
  if (make === undefined) throw new Error(`${file} does not export ${name}`);
  return make();
}

function blocksOf(command: Command): string[] {
  const usage = `weir ${command.name()} ${command.usage()}`.trim();
  const positional = command.registeredArguments.map((argument) => [
    code(argument.name()),
    argument.required ? '**required**' : '',
    prose(argument.description),
  ]);
  const flags = command.options.filter(({ hidden }) => !hidden).map(rowOf);
  return [
    `## weir ${command.name()}`,
    prose(command.description()),
    `\`\`\`\n${usage}\n\`\`\``,
    ...(positional.length === 0 ? [] : [table(['argument', '', 'meaning'], positional)]),
    ...(flags.length === 0 ? [] : [table(['flag', 'environment', 'default', 'meaning'], flags)]),
  ];
}

function rowOf(option: Option): string[] {
  const choices = option.argChoices === undefined ? '' : `: ${option.argChoices.map(code).join(', ')}`;
  const fallback = option.mandatory && option.defaultValue === undefined ? '**required**' : code(defaultOf(option));
  return [code(option.flags), code(option.envVar ?? ''), fallback, `${prose(option.description)}${choices}`];
}

function defaultOf({ defaultValue, defaultValueDescription }: Option): string {
  if (defaultValueDescription !== undefined) return defaultValueDescription;
  if (defaultValue === undefined) return '';
  return typeof defaultValue === 'string' ? defaultValue : JSON.stringify(defaultValue);
}
