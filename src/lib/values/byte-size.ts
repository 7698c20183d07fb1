// Lib: sizes such as 16Mi or 65536 to bytes.

const UNITS: Readonly<Record<string, number>> = { '': 1, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 };

/** @returns bytes, at least 1; undefined when the text is not a size */
export function parseByteSize(text: string): number | undefined {
  const match = /^(\d{1,12})(Ki|Mi|Gi)?B?$/.exec(text);
  const bytes = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? 0);
  return match !== null && bytes >= 1 ? bytes : undefined;
}
