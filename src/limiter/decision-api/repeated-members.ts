// Limiter, decision API: whether a JSON text names a member of an object twice. In: the text and the value that
// JSON.parse made of it; out: yes or no. Parsers differ in which of the two counts.

/** Compares the members that the text names with those that the value kept. Linear, at any depth. */
export function hasRepeatedMember(text: string, value: unknown): boolean {
  return membersNamed(text) !== membersKept(value);
}

/** In JSON a colon outside of a string stands behind the name of a member, and nowhere else. */
function membersNamed(text: string): number {
  let count = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (isInString && character === '\\') at += 1;
    else if (character === '"') isInString = !isInString;
    else if (character === ':' && !isInString) count += 1;
  }
  return count;
}

function membersKept(value: unknown): number {
  let count = 0;
  const open: unknown[] = [value];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null) continue;
    const values: unknown[] = Object.values(next);
    if (!Array.isArray(next)) count += values.length;
    for (const one of values) open.push(one);
  }
  return count;
}
