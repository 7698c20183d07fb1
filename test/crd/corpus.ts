// Tests: the corpus of manifests; in: test/crd/corpus/*.yaml, out: each text with what its header expects of it.
import { readFileSync, readdirSync } from 'node:fs';

/** What one manifest must meet with. */
export interface Expectation {
  readonly stage: 'decode' | 'schema' | 'cel' | 'status';
  /** Type of error; for the stage `status` the reason of Accepted=False; absent for `cel`. */
  readonly type?: string;
  /** Empty: the object as a whole. */
  readonly path: string;
  /** The message, or a part of it. */
  readonly text: string;
}

export interface CorpusEntry {
  /** Name of the file without its suffix. */
  readonly name: string;
  readonly text: string;
  /** Empty: accepted, by the API server and by the status. */
  readonly expected: readonly Expectation[];
}

const FOLDER = new URL('./corpus/', import.meta.url);
const LINE = /^# expect: (decode|schema|cel|status)(?: (\w+))? \| (\S*) \| (.*)$/;

/** Every manifest of the corpus, by name. A file says `# expect: <stage> [<type>] | <path> | <text>`, or `accepted`. */
export function loadCorpus(): CorpusEntry[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((file) => {
      const text = readFileSync(new URL(file, FOLDER), 'utf8');
      return { name: file.replace(/\.yaml$/, ''), text, expected: expectationsOf(text, file) };
    });
}

function expectationsOf(text: string, file: string): Expectation[] {
  const lines = text.split('\n').filter((line) => line.startsWith('# expect:'));
  if (lines.length === 0) throw new Error(`${file} does not say what is expected of it`);
  if (lines.length === 1 && lines[0] === '# expect: accepted') return [];
  return lines.map((line) => {
    const [, stage, type, path = '', message = ''] = LINE.exec(line) ?? [];
    if (stage === undefined) throw new Error(`${file}: cannot read "${line}"`);
    return {
      stage: stage as Expectation['stage'],
      ...(type === undefined ? {} : { type }),
      path,
      text: message,
    };
  });
}
