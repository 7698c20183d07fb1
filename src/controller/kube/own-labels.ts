// Controller: the label of everything that weir makes. Output: labels, by which all of it is found and removed again.

export const PART_OF_WEIR: Readonly<Record<string, string>> = { 'app.kubernetes.io/part-of': 'weir' };
