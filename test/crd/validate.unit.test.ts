// Tests offline validation beyond the corpus: all errors at once, lines, texts that try to break it, defaults and
// pruning.
import { describe, expect, test } from '@jest/globals';
import { judgeObject, judgeText, validateManifest } from '../../src/crd/validate.ts';

const route = (spec: unknown) => ({
  apiVersion: 'weir.dev/v1alpha1',
  kind: 'ModelRoute',
  metadata: { name: 'a', namespace: 'default' },
  spec,
});

describe('validateManifest', () => {
  test('reports errors of all stages at once, each with its path and line', () => {
    const text = [
      'apiVersion: weir.dev/v1alpha1',
      'kind: ModelRoute',
      'metadata: {name: a}',
      'spec:',
      '  modelName: m',
      '  modelname: m',
      '  rateLimiting:',
      '    redis: {db: 1}',
      '    limits:',
      '    - name: A',
      '      bucket:',
      '        maxTokens: 0',
      '        refillPeriod: 0s',
      '    - name: b',
      '      measure: Cost',
      '      window: {limit: 5, period: Day}',
    ].join('\n');
    const found = validateManifest(text).map(({ line, stage, path }) => `${line ?? 0} ${stage} ${path}`);
    expect(found.sort()).toEqual([
      '10 schema spec.rateLimiting.limits[0].name',
      '12 schema spec.rateLimiting.limits[0].bucket.maxTokens',
      '13 cel spec.rateLimiting.limits[0].bucket.refillPeriod',
      '14 cel spec.rateLimiting.limits[1]',
      '6 decode spec.modelname',
      '8 cel spec.rateLimiting.redis',
    ]);
  });

  test('keeps checking CEL rules where the schema is broken', () => {
    const broken = route({ rateLimiting: { limits: [{ name: 5 }, 5, { name: 'a', bucket: 7 }] } });
    const messages = validateManifest(broken).map(({ stage, path }) => `${stage} ${path}`);
    expect(messages).toContain('cel spec');
    expect(messages).toContain('cel spec.rateLimiting.limits[0]');
    expect(messages).toContain('schema spec.rateLimiting.limits[2].bucket');
  });

  test.each([undefined, null, 5, 'text', [], [{}], true, {}, { kind: 'ModelRoute' }, { apiVersion: 'weir.dev/v1' }])(
    'finds something in %j',
    (value) => {
      const found = validateManifest(value);
      expect(found).toHaveLength(1);
      expect(found[0]).toMatchObject({ stage: 'decode', type: 'Unreadable' });
    },
  );

  test.each(['', '# nothing', '---\n---\n'])('finds no object in %j', (text) => {
    expect(validateManifest(text)).toEqual([
      { stage: 'decode', path: '', type: 'Unreadable', message: 'contains no object', line: 1 },
    ]);
  });

  test.each([
    ['an open bracket', 'spec: [', 1],
    ['a tab', 'kind: ModelRoute\nspec:\n\tmodelName: m', 3],
    ['an alias of nothing', 'kind: ModelRoute\nspec: *x', 2],
    ['a key that is no text', 'kind: ModelRoute\n? [a]\n: b', 2],
    ['infinity', 'kind: ModelRoute\nspec: .inf', 2],
  ])('tells the line of %s', (_what, text, line) => {
    const [first] = validateManifest(text);
    expect(first).toMatchObject({ stage: 'decode', type: 'Syntax', line });
  });

  test('ends on aliases that multiply and on nesting without end', () => {
    const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]'];
    for (let level = 0; level < 12; level++) {
      const [from, to] = [String.fromCharCode(97 + level), String.fromCharCode(98 + level)];
      bomb.push(`${to}: &${to} [${`*${from},`.repeat(10)}]`);
    }
    expect(validateManifest(bomb.join('\n'))[0]).toMatchObject({ stage: 'decode' });
    const deep = `{"apiVersion":"weir.dev/v1alpha1","kind":"ModelRoute","metadata":{"name":"a"},"spec":${'['.repeat(5000)}${']'.repeat(5000)}}`;
    expect(validateManifest(deep).length).toBeGreaterThan(0);
  });

  test('names that JavaScript objects inherit are unknown fields', () => {
    for (const name of ['constructor', 'toString', 'hasOwnProperty', '__proto__']) {
      const text = JSON.stringify(route({ modelName: 'm' })).replace('"modelName"', `"${name}":1,"modelName"`);
      expect(validateManifest(text).map(({ path }) => path)).toEqual([`spec.${name}`]);
    }
  });
});

describe('a list', () => {
  const element = (name: string, field: string): string[] => [
    '- metadata: {name: ' + name + '}',
    '  spec:',
    '    modelName: m',
    `    ${field}: {}`,
  ];

  test('counts as its elements, each with its lines and paths', () => {
    const kind = ['apiVersion: weir.dev/v1alpha1', 'kind: ModelRouteList', 'items:'];
    const text = [...kind, ...element('a', 'rateLimiting'), ...element('b', 'foo'), '  spec: {}'].join('\n');
    const seen = judgeText(text).map(({ line, kind, name, findings }) => [
      `${line} ${kind} ${name}`,
      ...findings.map((each) => `${each.line ?? 0} ${each.type} ${each.path}`),
    ]);
    expect(seen).toEqual([
      ['4 ModelRoute a', '7 Invalid spec.rateLimiting'],
      ['8 ModelRoute b', '12 DuplicateField spec', '12 Invalid spec'],
    ]);
  });

  test('of several kinds is of those that its elements name', () => {
    const items = [route({ modelName: 'm', foo: 1 }), { kind: 'Secret', apiVersion: 'v1' }, route({ modelName: 'n' })];
    const verdicts = judgeText(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    expect(verdicts.map(({ kind, foreign, findings }) => [kind, foreign, findings.map(({ path }) => path)])).toEqual([
      ['ModelRoute', false, ['spec.foo']],
      ['Secret', true, []],
      ['ModelRoute', false, []],
    ]);
  });
});

describe('judgeObject', () => {
  test('drops nulls and the status, adds nothing, and changes nothing of its input', () => {
    const input = {
      ...route({ modelName: 'm', targets: [{ url: 'http://a', weight: null }], rules: null }),
      status: {},
    };
    const before = structuredClone(input);
    const { object, findings } = judgeObject(input);
    expect(findings).toEqual([]);
    expect(object).toEqual(route({ modelName: 'm', targets: [{ url: 'http://a' }] }));
    expect(input).toEqual(before);
  });

  test('gives the shape of an object that only rules are against', () => {
    const { object, shaped, findings } = judgeObject(route({ modelName: 'm', rateLimiting: {} }));
    expect({ object, stages: findings.map(({ stage }) => stage) }).toEqual({ object: undefined, stages: ['cel'] });
    expect(shaped?.spec.rateLimiting).toEqual({});
    expect(judgeObject(route({ modelName: 5 })).shaped).toBeUndefined();
  });

  test('has no opinion of objects of other groups', () => {
    const [verdict] = judgeText('apiVersion: networking.serving.volcano.sh/v1alpha1\nkind: ModelRoute\nspec: 5\n');
    expect(verdict).toMatchObject({ foreign: true, findings: [] });
  });
});
