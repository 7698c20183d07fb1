// Benchmarks, page: writes docs/benchmarks.md and its chart. In: bench/published/<row>[-n].json, the published runs
// of a row; out: the median and range of each figure beside what is required. Usage: node bench/page.ts
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { FIGURES, type Figure } from './page-figures.ts';

interface Published {
  /** Path of the raw run. */
  readonly file: string;
  readonly row: string;
  readonly at: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryMiB: number;
    readonly kernel: string;
    readonly node: string;
    readonly loadOfLastMinute: number;
  };
  readonly result: unknown;
}

const PAGE = 'docs/benchmarks.md';
const CHART = 'docs/images/benchmarks.svg';

const HEAD = `<!-- Generated from bench/published by \`make bench-page\`. Do not edit. -->
# Benchmarks

How fast and how large Weir is, beside what it is required to be. Everything runs on one machine over loopback, load and peers
included: ratios carry over to another machine, absolute figures do not.

\`make bench ROW=<row> SECONDS=<n>\` runs a row, prints its JSON and keeps it in \`bench/results\`. Nothing of it is a test: tests only run each
row for a moment, to see that it still works. What was tried and not kept is in [docs/adr](adr).
`;

/** The published runs of each row. */
function readPublished(): ReadonlyMap<string, readonly Published[]> {
  const runs = globSync('bench/published/*.json').map((file) => ({
    file,
    ...(JSON.parse(readFileSync(file, 'utf8')) as Omit<Published, 'file'>),
  }));
  return Map.groupBy(
    runs.toSorted((a, b) => a.file.localeCompare(b.file)),
    ({ row }) => row,
  );
}

/** @throws Error when a published run has no such number */
function valueOf({ path, unit }: Figure, { file, result }: Published): number {
  let value: unknown = result;
  for (const step of path) value = (value as Record<string | number, unknown> | undefined)?.[step];
  if (typeof value !== 'number') throw new Error(`${file} has no number at ${path.join('.')}`);
  return unit === 's' ? value / 1000 : value;
}

/** Sorted values of all runs, and the one in the middle (of two the mean). */
function valuesOf(
  figure: Figure,
  runs: readonly Published[],
): { readonly all: readonly number[]; readonly middle: number } {
  const all = runs.map((run) => valueOf(figure, run)).sort((a, b) => a - b);
  const half = all.length / 2;
  const middle = ((all[Math.ceil(half) - 1] ?? NaN) + (all[Math.floor(half)] ?? NaN)) / 2;
  return { all, middle };
}

function numberText(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
}

function bound(figure: Figure, value: number | undefined): string {
  if (value === undefined) return '';
  return `${figure.better === 'lower' ? '≤' : '≥'} ${numberText(value)} ${figure.unit}`;
}

function meets(figure: Figure, value: number, wanted: number | undefined): boolean | undefined {
  if (wanted === undefined) return undefined;
  return figure.better === 'lower' ? value <= wanted : value >= wanted;
}

/** What the figure says of itself: goal reached, required reached, or missed. */
function verdict(figure: Figure, value: number): string {
  if (meets(figure, value, figure.required) === false) return '**missed**';
  const goal = meets(figure, value, figure.goal);
  if (goal === true) return 'goal';
  if (figure.required === undefined) return goal === false ? 'below goal' : '';
  return goal === false ? 'required, below goal' : 'required';
}

function tableRow(figure: Figure, runs: readonly Published[]): string {
  const { all, middle: value } = valuesOf(figure, runs);
  const range = all.length > 1 ? ` (${numberText(all[0] ?? NaN)} to ${numberText(all.at(-1) ?? NaN)})` : '';
  const cells = [
    `\`${figure.row}\``,
    figure.name,
    `${numberText(value)} ${figure.unit}${range}`,
    bound(figure, figure.required),
    bound(figure, figure.goal),
    verdict(figure, value),
    figure.peer ?? '',
    figure.method,
  ];
  return `| ${cells.join(' | ')} |`;
}

function environmentRow({ row, at, machine, file }: Published): string {
  const { cpu, cores, memoryMiB, kernel, node, loadOfLastMinute } = machine;
  const memory = `${Math.round(memoryMiB / 1024)} GiB`;
  return `| [\`${row}\`](../${file}) | ${at.slice(0, 10)} | ${cpu}, ${cores} cores, ${memory}, Linux ${kernel}, Node ${node} | ${loadOfLastMinute} |`;
}

/** Bars of the figures that have a bound: how much of the required is used, or how far it is surpassed. */
function chart(all: ReadonlyMap<string, readonly Published[]>): string {
  const bars = FIGURES.flatMap((figure) => {
    const runs = all.get(figure.row);
    if (runs === undefined || figure.required === undefined) return [];
    const value = valuesOf(figure, runs).middle;
    const ratio = figure.better === 'lower' ? figure.required / value : value / figure.required;
    return [{ name: `${figure.row}: ${figure.name}`, ratio }];
  });
  const height = 24;
  const scale = 110;
  const lines = bars.map(({ name, ratio }, index) => {
    const y = 34 + index * height;
    const width = Math.min(ratio, 5) * scale;
    const colour = ratio < 1 ? '#c2410c' : '#0f766e';
    return `<text x="330" y="${y + 13}" text-anchor="end">${name}</text><rect x="340" y="${y}" width="${width.toFixed(0)}" height="16" rx="2" fill="${colour}"/><text x="${(346 + width).toFixed(0)}" y="${y + 13}">${ratio.toFixed(1)}</text>`;
  });
  const bottom = 40 + bars.length * height;
  const style =
    'text{font:13px system-ui,sans-serif;fill:#1f2937}@media(prefers-color-scheme:dark){text{fill:#e5e7eb}}';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 ${bottom + 10}" role="img" aria-label="Figures against what is required"><style>${style}</style><text x="340" y="20">times better than required; the line is 1</text>${lines.join('')}<line x1="${340 + scale}" x2="${340 + scale}" y1="28" y2="${bottom}" stroke="#9ca3af" stroke-dasharray="4 3"/></svg>\n`;
}

/** @returns the texts of the page and of its chart */
export function renderPage(): { readonly page: string; readonly chart: string } {
  const all = readPublished();
  const shown = FIGURES.flatMap((figure) => {
    const runs = all.get(figure.row);
    return runs === undefined ? [] : [tableRow(figure, runs)];
  });
  const page = [
    HEAD,
    '![Figures against what is required](images/benchmarks.svg)\n',
    '## Figures\n',
    '| row | figure | measured | required | goal | verdict | peer | method |',
    '|---|---|---|---|---|---|---|---|',
    ...shown,
    '\n## Environment\n',
    '| raw run | date | machine | load of the minute before |',
    '|---|---|---|---|',
    ...[...all.values()].flat().map(environmentRow),
    '',
  ].join('\n');
  return { page, chart: chart(all) };
}

if (import.meta.main) {
  const { page, chart: svg } = renderPage();
  writeFileSync(PAGE, page);
  writeFileSync(CHART, svg);
}
