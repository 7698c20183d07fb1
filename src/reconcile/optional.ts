// Reconcile, leaf: members that are there or not, without `undefined` in what travels.

/** `{ [key]: make(value) }`, or `{}` when there is no value. */
export function optional<K extends string, V, R>(
  key: K,
  value: V | undefined,
  make: (value: V) => R,
): { readonly [P in K]?: R } {
  if (value === undefined) return {};
  return { [key]: make(value) } as { readonly [P in K]?: R };
}

/** `{ [key]: value }`, or `{}` when there is no value. */
export function given<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return optional(key, value, (present) => present);
}
