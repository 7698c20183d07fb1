// CRD: what one schema admits and another does not; in: two CustomResourceDefinitions as plain data, out: the places
// where the other is narrower. A missing place is lost data: the API server drops unknown fields when an object is
// next written.

/** The part of a CustomResourceDefinition that says what may be written. */
export interface KindDefinition {
  readonly spec: { readonly versions: readonly KindVersion[] };
}

export interface KindVersion {
  readonly name: string;
  readonly schema?: { readonly openAPIV3Schema?: SchemaNode };
}

/** As in a structural schema; only what is compared. */
export interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly enum?: readonly unknown[];
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
}

const UPPER_BOUNDS = ['maximum', 'maxLength', 'maxItems', 'maxProperties'] as const;

/**
 * Versions, fields, words of an enum and upper bounds of `wide` that `other` does not admit: `v1alpha1
 * .spec.modelName`, `v1alpha1 .spec.mode: "Shadow"`, `v1alpha1 .spec.targets: maxItems 32`. Empty: `other` is not
 * narrower in these. Patterns and CEL rules are not compared.
 */
export function lostIn(other: KindDefinition, wide: KindDefinition): string[] {
  return wide.spec.versions.flatMap((version) => {
    const counterpart = other.spec.versions.find(({ name }) => name === version.name);
    if (counterpart === undefined) return [version.name];
    const lost = lostInSchema(counterpart.schema?.openAPIV3Schema, version.schema?.openAPIV3Schema ?? {}, '');
    return lost.map((place) => `${version.name} ${place}`);
  });
}

function lostInSchema(other: SchemaNode | undefined, wide: SchemaNode, path: string): string[] {
  if (other === undefined) return [path];
  const words = (wide.enum ?? []).filter((word) => other.enum !== undefined && !other.enum.includes(word));
  const bounds = UPPER_BOUNDS.filter((bound) => (other[bound] ?? Infinity) < (wide[bound] ?? Infinity));
  return [
    ...words.map((word) => `${path}: ${JSON.stringify(word)}`),
    ...bounds.map((bound) => `${path}: ${bound} ${wide[bound] ?? 'unbounded'}`),
    ...Object.entries(wide.properties ?? {}).flatMap(([name, schema]) =>
      lostInSchema(other.properties?.[name], schema, `${path}.${name}`),
    ),
    ...(wide.items === undefined ? [] : lostInSchema(other.items, wide.items, `${path}[]`)),
    ...(typeof wide.additionalProperties === 'object'
      ? lostInSchema(schemaOf(other.additionalProperties), wide.additionalProperties, `${path}[*]`)
      : []),
  ];
}

function schemaOf(additional: SchemaNode | boolean | undefined): SchemaNode | undefined {
  return typeof additional === 'object' ? additional : undefined;
}
