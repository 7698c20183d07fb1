// Reconcile, injection: the bounds of one request in a pod's limiter. Input: those of the injection config, and
// annotations of the pod. Output: flags of the limiter, or why a text is not a bound.
import { parseByteSize } from '../../lib/values/byte-size.ts';
import { parseDurationMicros } from '../../lib/values/duration.ts';

type Kind = 'size' | 'headerSize' | 'count' | 'duration' | 'durationOrOff';

/**
 * Fields of `bounds` in the injection config. `maxBody` is the flag --max-body and the annotation weir.dev/max-body.
 */
export const BOUNDS = {
  maxBody: 'size',
  bodyBudget: 'size',
  bodyIdleTimeout: 'duration',
  maxHeaderBytes: 'headerSize',
  maxHeaders: 'count',
  requestHeadersTimeout: 'duration',
  requestTimeout: 'duration',
  keepAliveTimeout: 'duration',
  connectTimeout: 'duration',
  headersTimeout: 'duration',
  streamIdleTimeout: 'durationOrOff',
  upstreamIdleTimeout: 'duration',
} as const satisfies Readonly<Record<string, Kind>>;

export type BoundField = keyof typeof BOUNDS;
export type Bounds = Readonly<Partial<Record<BoundField, string | number>>>;

const FIELDS = Object.keys(BOUNDS) as BoundField[];
/** Annotations of a pod, one per field. */
export const BOUND_ANNOTATIONS: readonly string[] = FIELDS.map(annotationOf);

/** As `weir limiter` takes them. */
/** Of `weir limiter`: its --max-body, and how many of them a --body-budget holds at least. */
const DEFAULT_MAX_BODY = '16Mi';
const BODIES_IN_BUDGET = 3;
const HEADER_BYTES = { least: 1024, most: 1024 ** 2 } as const;
const MOST_HEADERS = 10_000;
const LONGEST_MICROS = 576 * 3_600_000_000;

const isDuration = (text: string): boolean => (parseDurationMicros(text) ?? Infinity) <= LONGEST_MICROS;

const CHECKS: Readonly<Record<Kind, { readonly takes: (text: string) => boolean; readonly wanted: string }>> = {
  size: { takes: (text) => parseByteSize(text) !== undefined, wanted: 'a size such as 512Ki, 32Mi' },
  headerSize: { takes: isHeaderSize, wanted: 'a size from 1Ki to 1Mi, such as 32Ki' },
  count: { takes: isCount, wanted: `a number from 1 to ${MOST_HEADERS}` },
  duration: { takes: isDuration, wanted: 'a duration up to 576h, such as 30s, 5m' },
  durationOrOff: {
    takes: (text) => text === 'off' || isDuration(text),
    wanted: 'a duration up to 576h, such as 10m, or off',
  },
};

/** What must be there instead of the text; undefined: it is a bound. */
export function boundProblem(field: BoundField, value: string | number): string | undefined {
  const { takes, wanted } = CHECKS[BOUNDS[field]];
  return takes(String(value)) ? undefined : `write ${wanted}`;
}

/** The bounds of a pod's limiter: its annotations take precedence over those of the injection config. */
export function wantedBounds(
  annotations: Readonly<Record<string, string>> = {},
  bounds: Bounds = {},
): { readonly bounds: Bounds; readonly complaint?: string } {
  const own = FIELDS.flatMap((field) => {
    const text = annotations[annotationOf(field)];
    return text === undefined ? [] : [[field, text] as const];
  });
  for (const [field, text] of own) {
    const problem = boundProblem(field, text);
    if (problem !== undefined) return { bounds, complaint: `annotation ${annotationOf(field)}: "${text}": ${problem}` };
  }
  const wanted = { ...bounds, ...Object.fromEntries(own) };
  const problem = own.length === 0 ? undefined : budgetProblem(wanted);
  if (problem === undefined) return { bounds: wanted };
  return { bounds, complaint: `annotation ${annotationOf('bodyBudget')}: ${problem}` };
}

/** What is wrong with bounds that are good one by one; undefined: nothing. */
export function budgetProblem({ maxBody, bodyBudget }: Bounds): string | undefined {
  if (bodyBudget === undefined) return undefined;
  const least = BODIES_IN_BUDGET * (parseByteSize(String(maxBody ?? DEFAULT_MAX_BODY)) ?? 0);
  if ((parseByteSize(String(bodyBudget)) ?? 0) >= least) return undefined;
  return `"${bodyBudget}" is less than three times max-body ${maxBody ?? DEFAULT_MAX_BODY}: raise it, or leave it out`;
}

/** Flags of `weir limiter`, in the order of the table. */
export function boundFlags(bounds: Bounds = {}): string[] {
  return FIELDS.flatMap((field) => (bounds[field] === undefined ? [] : [`--${kebabOf(field)}=${bounds[field]}`]));
}

function annotationOf(field: BoundField): string {
  return `weir.dev/${kebabOf(field)}`;
}

function kebabOf(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function isHeaderSize(text: string): boolean {
  const bytes = parseByteSize(text) ?? 0;
  return bytes >= HEADER_BYTES.least && bytes <= HEADER_BYTES.most;
}

function isCount(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= MOST_HEADERS;
}
