// Lib: Kubernetes-style durations ("1h30m", "250ms") to whole microseconds and back.

/** The grammar of a duration, as the CRD schema states it. */
export const DURATION_PATTERN = '^([0-9]{1,5}(h|m|s|ms)){1,4}$';
/** The longest duration accepted: a leap year, in µs. */
export const MAX_DURATION_MICROS = 8784 * 3_600_000_000;

const UNIT_MICROS: Readonly<Record<string, number>> = { h: 3_600_000_000, m: 60_000_000, s: 1_000_000, ms: 1000 };
const GRAMMAR = new RegExp(DURATION_PATTERN);

/**
 * Parses a duration to µs.
 * @returns whole µs, or undefined when the text does not follow the grammar, is zero or is longer than 8784h.
 */
export function parseDurationMicros(text: string): number | undefined {
  if (!GRAMMAR.test(text)) return undefined;
  let micros = 0;
  for (const part of text.matchAll(/([0-9]+)(h|ms|m|s)/g))
    micros += Number(part[1]) * (UNIT_MICROS[part[2] ?? ''] ?? 0);
  return micros > 0 && micros <= MAX_DURATION_MICROS ? micros : undefined;
}

/** Formats µs exactly and without units of which there are none ("6m", "1h2m3s", "1s500ms"): it parses to the same. */
export function formatDuration(micros: number): string {
  let rest = Math.ceil(micros / 1000) * 1000;
  const parts = Object.entries(UNIT_MICROS).map(([unit, unitMicros]) => {
    const count = Math.floor(rest / unitMicros);
    rest -= count * unitMicros;
    return count === 0 ? '' : `${count}${unit}`;
  });
  return parts.join('');
}
