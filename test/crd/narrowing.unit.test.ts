// Which fields of stored objects a later schema would lose. In: schemas before and after; out: the paths that are lost.
import { describe, expect, test } from '@jest/globals';
import { customResourceDefinition } from '../../src/crd/emit.ts';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import { lostIn, type KindDefinition, type SchemaNode } from '../../src/crd/narrowing.ts';

type Node = Record<string, unknown>;

const definition = (spec: SchemaNode, name = 'v1alpha1'): KindDefinition => ({
  spec: { versions: [{ name, schema: { openAPIV3Schema: { properties: { spec } } } }] },
});

const WIDE: SchemaNode = {
  properties: {
    mode: { enum: ['Enforce', 'Shadow'] },
    limits: { items: { properties: { name: { maxLength: 63 }, more: {} } }, maxItems: 32 },
    labels: { additionalProperties: { properties: { value: {} } } },
  },
};

/** A copy in which no two places are one object. */
function copyOf<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** A copy with what stands at the path replaced; undefined takes it away. */
function changed(schema: SchemaNode, path: string, value: unknown): SchemaNode {
  const copy = copyOf(schema);
  const names = path.split('.');
  const last = names.pop() ?? '';
  const owner = names.reduce<Node>((node, name) => node[name] as Node, copy as Node);
  if (value === undefined) Reflect.deleteProperty(owner, last);
  else owner[last] = value;
  return copy;
}

describe('what a schema loses against a wider one', () => {
  test.each<[string, string, unknown, string[]]>([
    ['a field', 'properties.mode', undefined, ['v1alpha1 .spec.mode']],
    ['a field of an item', 'properties.limits.items.properties.more', undefined, ['v1alpha1 .spec.limits[].more']],
    ['all items', 'properties.limits.items', undefined, ['v1alpha1 .spec.limits[]']],
    [
      'a field of the values of a map',
      'properties.labels.additionalProperties.properties.value',
      undefined,
      ['v1alpha1 .spec.labels[*].value'],
    ],
    ['a word', 'properties.mode.enum', ['Enforce'], ['v1alpha1 .spec.mode: "Shadow"']],
    ['no word when any is admitted', 'properties.mode.enum', undefined, []],
    ['an upper bound that is lower', 'properties.limits.maxItems', 31, ['v1alpha1 .spec.limits: maxItems 32']],
    ['no upper bound that is higher', 'properties.limits.maxItems', 33, []],
    ['no upper bound that is gone', 'properties.limits.maxItems', undefined, []],
    [
      'what is bounded only now',
      'properties.labels.maxProperties',
      4,
      ['v1alpha1 .spec.labels: maxProperties unbounded'],
    ],
    ['nothing by what is new', 'properties.further', {}, []],
  ])('%s', (_title, path, value, expected) => {
    expect(lostIn(definition(changed(WIDE, path, value)), definition(WIDE))).toEqual(expected);
  });

  test('a version', () => {
    expect(lostIn(definition(WIDE, 'v1beta1'), definition(WIDE))).toEqual(['v1alpha1']);
  });

  test.each(KINDS)('each property that $kind has, and nothing against itself', (kind) => {
    const whole = customResourceDefinition(kind) as unknown as KindDefinition;
    expect(lostIn(whole, whole)).toEqual([]);
    const cut = copyOf(whole);
    const properties = propertiesOf(cut);
    expect(properties.length).toBeGreaterThan(50);
    for (const { owner, name } of properties) {
      const kept = owner[name];
      Reflect.deleteProperty(owner, name);
      expect(lostIn(cut, whole)).toEqual([expect.stringMatching(new RegExp(`\\.${name}$`))]);
      owner[name] = kept;
    }
  });
});

/** Each property of the schemas, where it stands. */
function propertiesOf(value: unknown): { owner: Node; name: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value as Node).flatMap(([key, below]) => [
    ...(key === 'properties' ? Object.keys(below as Node).map((name) => ({ owner: below as Node, name })) : []),
    ...propertiesOf(below),
  ]);
}
