// The scan of a JSON body: what is kept of it and where it stands, what bounds it has, and that a large one takes
// many turns.
import { describe, expect, test } from '@jest/globals';
import { readJson, readJsonBody, type JsonBody } from '../../../src/limiter/request/json-body.ts';

const read = (text: string): JsonBody => readJsonBody(Buffer.from(text));
const problemOf = (text: string): string | undefined => {
  const body = read(text);
  return body.kind === 'ambiguous' ? body.problem : undefined;
};

describe('what is read of a body', () => {
  test('has its places in bytes, whatever comes before it', () => {
    const bytes = Buffer.from('{ "größe" : [1] , "model" : "m\\u0041" , "params":{"name":"t","x":1}, "id": 1e2 }');
    const body = readJsonBody(bytes);
    if (body.kind !== 'json') throw new Error(body.kind);
    const [object] = body.root.objects;
    const text = (name: string): string => {
      const member = object!.members.get(name)!;
      return bytes.toString('utf8', member.start, member.end);
    };
    expect([text('model'), text('params'), text('id')]).toEqual(['"m\\u0041"', '{"name":"t","x":1}', '1e2']);
    expect(object).toMatchObject({ start: 0, end: bytes.length, size: 4 });
    expect(object!.members.get('id')).toMatchObject({ value: 100, source: '1e2' });
    expect(object!.members.get('params')!.object).toMatchObject({ size: 2 });
    expect(bytes.toString('utf8', object!.members.get('model')!.nameStart).startsWith('"model" :')).toBe(true);
    expect(body.value).toEqual({ model: 'mA', params: { name: 't' }, id: 100 });
  });

  test('is not what it merely contains', () => {
    const body = read(
      '{"messages":[{"model":"x","method":"tools/call"}],"metadata":{"params":{"name":"t"}},"stream":true}',
    );
    expect(body).toMatchObject({ kind: 'json', value: { stream: true } });
    expect(read('{"params":[{"name":"t"}],"model":{"name":"m"},"id":[1]}')).toMatchObject({
      value: { params: [], model: {}, id: [] },
    });
  });

  test('of a list are its first 400 elements; all are counted', () => {
    const body = read(`[${'{"model":"m"},'.repeat(1_000)}7]`);
    if (body.kind !== 'json') throw new Error(body.kind);
    expect(body.root.length).toBe(1_001);
    expect(body.root.objects).toHaveLength(400);
    expect(read('[1,{"id":1},null]')).toMatchObject({ value: [null, { id: 1 }, null] });
  });
});

describe('a body has bounds', () => {
  const members = (count: number): string =>
    `{${Array.from({ length: count }, (_member, index) => `"m${index}":0`).join(',')}}`;

  test.each([
    ['10000 members', members(10_000), undefined],
    ['one more', members(10_001), 'an object has more than 10000 members'],
    ['any number of them where nothing is read', `{"a":${members(10_001)}}`, undefined],
    ['a name of 1024 bytes', `{"${'n'.repeat(1_022)}":0}`, undefined],
    ['a longer one', `{"${'n'.repeat(1_023)}":0}`, "a member's name is longer than 1024 bytes"],
    ['a long one where nothing is read', `[[{"${'n'.repeat(5_000)}":0}]]`, undefined],
    ['a number of 1000 characters', `[${'1'.repeat(1_000)}]`, undefined],
    ['a longer one', `[${'1'.repeat(1_001)}]`, 'a number is longer than 1000 characters'],
    ['a long text', `{"messages":"${'x'.repeat(100_000)}"}`, undefined],
    ['a long name of a model', `{"model":"${'x'.repeat(100_000)}"}`, 'the member "model" is longer than 65536 bytes'],
    ['white space before it', `${' '.repeat(4_096)}{}`, undefined],
    ['more of it', `${' '.repeat(4_097)}{}`, 'the body begins with more than 4096 bytes of white space'],
  ])('%s', (_name, text, problem) => {
    expect(problemOf(text)).toBe(problem);
  });

  test('a problem names the byte, and the member as it was written', () => {
    expect(problemOf('{"model":"m",}')).toBe('the body is not valid JSON in UTF-8: see byte 13');
    expect(problemOf('{"mod\\u0065l":1,"model":2}')).toBe('the member "model" occurs twice');
    expect(problemOf('{"model":1,"mod\\u0065l":2}')).toBe('the member "mod\\u0065l" occurs twice');
  });
});

describe('a large body', () => {
  test.each([
    ['of small values', `[${'{},'.repeat(1_400_000)}{}]`],
    ['of one text', `{"a":"${'x'.repeat(4 * 2 ** 20)}"}`],
    ['of white space', `{${' '.repeat(4 * 2 ** 20)}}`],
  ])('%s is read in slices, between which others have their turn', async (_name, text) => {
    const bytes = Buffer.from(text);
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    expect((await readJson(bytes)).kind).toBe('json');
    isOver = true;
    expect(turns).toBeGreaterThanOrEqual(Math.floor(bytes.length / (256 * 1024)));
  });
});
