// Lib: the one form of a text that comes from a caller or a manifest, so that equal texts have equal characters.

/**
 * Unicode NFC: a letter with an accent is one text, however many code points its sender wrote it with. ASCII is
 * returned as it is.
 */
export function plainText(text: string): string {
  return isAscii(text) ? text : text.normalize('NFC');
}

export function isAscii(text: string): boolean {
  return !/[^\p{ASCII}]/u.test(text);
}
