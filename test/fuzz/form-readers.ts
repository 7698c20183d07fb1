// Fuzz: other readers of forms, a careful and some careless ones. In: a body; out: every value that they find for a
// field. What the limiter accepts must be the same to all of them.

/** The reader of Node's own fetch, which its types call unfit for servers; undefined where it refuses the form. */
export async function fetchReader(bytes: Buffer, contentType: string, name: string): Promise<string[] | undefined> {
  try {
    // eslint-disable-next-line @typescript-eslint/no-deprecated
    const form = await new Response(new Uint8Array(bytes), { headers: { 'content-type': contentType } }).formData();
    return form.getAll(name).map((value) => (typeof value === 'string' ? value : `file ${value.name}`));
  } catch {
    return undefined;
  }
}

/** Splits at the boundary wherever it is, takes any line ends and quotes, ignores case. */
export function sloppyReader(bytes: Buffer, boundary: string, name: string): string[] {
  const parts = bytes.toString('latin1').split(`--${boundary}`).slice(1);
  return parts.flatMap((part) => {
    const [head = '', ...rest] = part.replace(/^[ \t]*\r?\n/, '').split(/\r?\n\r?\n/);
    const line = /^content-disposition\s*:.*/im.exec(head)?.[0] ?? '';
    const found = /[;\s]name\*?\s*=\s*["']?([^"';\s]*)/i.exec(line)?.[1];
    if (found?.toLowerCase() !== name) return [];
    return [rest.join('\r\n\r\n').replace(/\r?\n$/, '')];
  });
}

/** Both separators, capitals, and escapes that are malformed taken as they are. */
export function sloppyUrlReader(bytes: Buffer, name: string): string[] {
  return bytes
    .toString('latin1')
    .split(/[&;]/)
    .flatMap((field) => {
      const [key = '', ...value] = field.split('=');
      const decoded = key
        .replaceAll('+', ' ')
        .replace(/%([0-9a-f]{2})/gi, (_all, hex: string) => String.fromCharCode(parseInt(hex, 16)));
      return decoded.trim().toLowerCase() === name ? [value.join('=')] : [];
    });
}
