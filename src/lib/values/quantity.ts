// Lib, leaf: Kubernetes quantities (`250m`, `512Mi`, `1e3`). Input: a text. Output: its value in thousandths, exact.

const DECIMAL = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'];
const BINARY = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const QUANTITY = /^\+?(\d{1,18})(?:\.(\d{1,9}))?([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,2})?$/;

/** Thousandths of the unit, rounded up as Kubernetes rounds; undefined for a text that is none, or is negative. */
export function parseQuantityMillis(text: string): bigint | undefined {
  const [, whole = '', fraction = '', suffix = ''] = QUANTITY.exec(text) ?? [];
  if (whole === '') return undefined;
  const [factor, divisor] = scaleOf(suffix);
  const digits = BigInt(whole + fraction) * 1000n * factor;
  return dividedUp(digits, 10n ** BigInt(fraction.length) * divisor);
}

/** Both sides of the fraction by which a suffix multiplies. */
function scaleOf(suffix: string): [bigint, bigint] {
  const binary = BINARY.indexOf(suffix);
  if (binary > 0) return [1024n ** BigInt(binary), 1n];
  const exponent = /^[eE][+-]?\d/.test(suffix) ? Number(suffix.slice(1)) : (DECIMAL.indexOf(suffix) - 3) * 3;
  return exponent >= 0 ? [10n ** BigInt(exponent), 1n] : [1n, 10n ** BigInt(-exponent)];
}

function dividedUp(value: bigint, divisor: bigint): bigint {
  return (value + divisor - 1n) / divisor;
}

/** As a quantity, without loss: `1500m`, `314572800`. */
export function formatQuantityMillis(millis: bigint): string {
  return millis % 1000n === 0n ? String(millis / 1000n) : `${millis}m`;
}
