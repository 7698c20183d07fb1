// Limiter, request stage: what the two kinds of forms have in common. In: names and values of fields; out: whether a
// field is the one that is looked for, only resembles it, or neither.

/** The one field that was looked for. `problem`: readers of forms could differ about it, or the form is malformed. */
export type FormField =
  | { readonly kind: 'absent' }
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'problem'; readonly problem: string };

/** A name of a model is shorter. */
export const MAX_VALUE_BYTES = 2048;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Collects the field `name` of one form. */
export class FieldCollector {
  readonly name: string;
  #field: FormField = { kind: 'absent' };

  constructor(name: string) {
    this.name = name;
  }

  get field(): FormField {
    return this.#field;
  }

  /** @param bytes of the value, decoded from the form */
  add(bytes: Uint8Array): void {
    if (this.#field.kind === 'absent') this.#field = this.#read(bytes);
    else this.refuse(`the form has the field "${this.name}" twice`);
  }

  refuse(problem: string): void {
    this.#field = { kind: 'problem', problem };
  }

  #read(bytes: Uint8Array): FormField {
    const problem = `the form's field "${this.name}" is not a name in UTF-8`;
    if (bytes.length > MAX_VALUE_BYTES) return { kind: 'problem', problem };
    try {
      const value = UTF8.decode(bytes);
      const isPlain = value === value.trim() && !/\p{Cc}/u.test(value);
      return isPlain ? { kind: 'value', value } : { kind: 'problem', problem };
    } catch {
      return { kind: 'problem', problem };
    }
  }
}

/** The text that these bytes, one a character, are in UTF-8. */
export function utf8Of(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}

/**
 * Some reader could take this name for `wanted`: it ignores case, or what follows a NUL, a bracket, a space or a
 * quote.
 */
export function resembles(name: string, wanted: string): boolean {
  const [plain = ''] = name.trim().split(/[[\0;'"=\s]/, 1);
  return plain.toUpperCase().toLowerCase() === wanted;
}
