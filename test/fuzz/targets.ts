// Fuzz: the parsers that read what callers send, and what each of them promises.
import assert from 'node:assert/strict';
import { MIMEType } from 'node:util';
import { normalisePath } from '../../src/lib/values/path.ts';
import { readJsonBody } from '../../src/limiter/request/json-body.ts';
import type { JsonObject } from '../../src/limiter/request/json-members.ts';
import { JsonScan } from '../../src/limiter/request/json-scan.ts';
import { charsetProblem, mediaTypeOf, readMediaType } from '../../src/limiter/request/media-type.ts';
import { multipartField } from '../../src/limiter/request/multipart.ts';
import { urlFormField } from '../../src/limiter/request/url-form.ts';
import { BODY_START, CONNECTION_START } from './beginnings.ts';
import { fetchReader, sloppyReader, sloppyUrlReader } from './form-readers.ts';
import type { FuzzTarget } from './fuzz.ts';
import { jsonReference } from './json-reference.ts';
import type { Draw } from './mutation.ts';

/** As texts: values of another realm (Jest's) have prototypes of their own. */
function assertSame(actual: unknown, wanted: unknown, message?: string): void {
  assert.equal(JSON.stringify(actual), JSON.stringify(wanted), message);
}

const JSON_TARGET: FuzzTarget = {
  name: 'json',
  words: [
    ...[
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"',
      '\\',
      '\\u0000',
      '\\ud83d',
      '\\u006d',
      '\\"',
      '\\\\',
      ' ',
      '\n',
      '\0',
      '\x1f',
    ],
    ...[
      '0',
      '-',
      '1e5',
      '01',
      '.',
      '1.0',
      'true',
      'nul',
      'null',
      'NaN',
      '/*',
      '\xc3\xa9',
      '\xff',
      '\xc0\xa2',
      '\xe2\x84\xaa',
    ],
    ...[
      '"model":',
      '"Model":"',
      '"params":{',
      '"id":',
      '"name":',
      '"method":"tools/call"',
      '{"params":{"uri":"x"}}',
      '[]',
    ],
  ],
  check(bytes, draw) {
    const body = readJsonBody(bytes);
    assert.equal(inPieces(bytes, draw), wholly(bytes), 'the same in slices of any size');
    const reference = jsonReference(bytes);
    if (reference === undefined) {
      assert.notEqual(body.kind, 'json');
      return body.kind;
    }
    assert.equal(body.kind, reference.kind === 'json' ? 'json' : 'ambiguous');
    if (body.kind !== 'json' || reference.kind !== 'json')
      return 'ambiguous' === body.kind ? body.problem.slice(0, 24) : body.kind;
    assertSame(body.value, reference.value);
    for (const object of body.root.objects) if (object !== undefined) checkPlaces(bytes, object);
    return `json ${body.root.length ?? 'object'}`;
  },
};

/** The places of members are those of their source texts. */
function checkPlaces(bytes: Buffer, { start, end, members }: JsonObject): void {
  assert.equal(bytes[start], 0x7b);
  assert.equal(bytes[end - 1], 0x7d);
  for (const [name, member] of members) {
    const text = bytes.toString('utf8', member.start, member.end);
    const value = JSON.parse(text) as unknown;
    if (member.kind !== 'object' && member.kind !== 'array') assertSame(member.value, value);
    if (member.source !== undefined) assert.equal(member.source, text);
    const named = bytes.toString('utf8', member.nameStart, member.start);
    assertSame(JSON.parse(`{${named}0}`), { [name]: 0 });
    if (member.object !== undefined) checkPlaces(bytes, member.object);
  }
}

const wholly = (bytes: Buffer): string => {
  const scan = new JsonScan(bytes);
  scan.advance(bytes.length + 1);
  return shown(scan);
};
function inPieces(bytes: Buffer, draw: Draw): string {
  const scan = new JsonScan(bytes);
  while (!scan.advance(1 + draw.below(7)));
  return shown(scan);
}
function shown(scan: JsonScan): string {
  const of = ({ members, ...rest }: JsonObject): object => ({ ...rest, members: [...members.entries()] });
  const objects = scan.root.objects.map((object) => (object === undefined ? null : of(object)));
  return JSON.stringify([scan.problem === undefined, scan.problem === undefined ? objects : []]);
}

const CONTENT_TYPE = 'multipart/form-data; boundary=A';
const MULTIPART: FuzzTarget = {
  name: 'multipart',
  words: [
    ...[
      '--A',
      '\r\n--A\r\n',
      '--A--',
      '--A--\r\n',
      '\r\n',
      '\n',
      '\r',
      '\r\n\r\n',
      '\n\n',
      ' ',
      '\t',
      ';',
      '"',
      '\\',
      '\0',
    ],
    ...[
      'name="model"',
      '; name=model',
      'name*=',
      'filename="a"',
      '; name="Model"',
      'Content-Disposition: form-data; ',
      'm',
    ],
    ...[
      'Content-Type: text/plain',
      'Content-Transfer-Encoding: base64',
      'Content-Disposition: form-data; name="model"\r\n\r\n',
    ],
  ],
  async check(bytes) {
    const media = readMediaType(CONTENT_TYPE)!;
    const field = await multipartField(bytes, media, 'model');
    if (field.kind === 'problem') return field.problem;
    const wanted = field.kind === 'value' ? [field.value] : [];
    const fetched = await fetchReader(bytes, CONTENT_TYPE, 'model');
    if (fetched !== undefined) assertSame(fetched, wanted, 'as fetch reads it');
    const sloppy = sloppyReader(bytes, 'A', 'model').map((value) => Buffer.from(value, 'latin1').toString());
    assertSame(sloppy, wanted, 'as a careless reader reads it');
    return `${field.kind} ${fetched === undefined ? 'refused by fetch' : ''}`;
  },
};

const MEDIA_TYPE: FuzzTarget = {
  name: 'media-type',
  words: [
    ...[
      'charset',
      'charset=',
      'utf-8',
      'utf-7',
      '"',
      ';',
      '; ',
      '=',
      ' ',
      '\t',
      '\\',
      "'",
      '*',
      ',',
      'boundary=',
      '\x80',
      '\n',
    ],
    ...['charset*=', 'charset*0=', '; charset=utf-7', '"; charset=utf-8', 'CHARSET="UTF-8"', '/'],
  ],
  check(bytes) {
    const text = bytes.toString('latin1');
    const media = mediaTypeOf(['X', 'y', 'content-TYPE', text]);
    if (media.kind !== 'valid') return media.kind;
    const other = new MIMEType(text);
    assert.equal(media.value, other.essence);
    for (const [name, value] of media.parameters) {
      if (!value.includes('\\')) assert.equal(value, other.params.get(name) ?? value);
    }
    if (charsetProblem(media) !== undefined) return 'foreign charset';
    // Whoever looks for a charset outside quoted texts finds UTF-8.
    const bare = text.replace(/"[^"]*"/g, (quoted) => (/^"utf-?8"$/i.test(quoted) ? quoted : '""'));
    for (const [, charset] of bare.matchAll(/[; \t]charset(?:\*\d?\*?)?\s*=\s*"?([^;"\s]*)/gi))
      assert.match(charset!, /^utf-?8$/i);
    return `valid ${media.parameters.size}`;
  },
};

const PATH: FuzzTarget = {
  name: 'path',
  words: [
    ...[
      '/',
      '//',
      '.',
      '..',
      '/./',
      '/../',
      ';',
      '..;',
      '%2F',
      '%2f',
      '%2e',
      '%25',
      '%',
      '%5C',
      '\\',
      '%00',
      '%zz',
      '?',
      '#',
    ],
    ...[':', '%C3%A9', '\xc3\xa9', '%FF', '\x7f', ' ', '*', '+', '%41'],
  ],
  check(bytes) {
    const path = normalisePath(bytes.toString('latin1'));
    if (path === undefined) return 'refused';
    assert.match(path, /^\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-F]{2})*$/);
    assert.ok(!path.includes('//'));
    assert.ok(!path.split('/').some((segment) => segment === '.' || segment === '..' || segment.startsWith('..;')));
    assert.equal(normalisePath(path), path, 'its own normal form');
    assert.doesNotMatch(path, /%(?:[01][0-9A-F]|7F|5C|2F|2E)/);
    return path.endsWith('/') ? 'folder' : 'file';
  },
};

const URL_FORM: FuzzTarget = {
  name: 'url-form',
  words: [
    '&',
    '=',
    ';',
    '%',
    '%6d',
    'model',
    'model=',
    '&model=m',
    'Model',
    '[]',
    '%5B',
    '+',
    '%00',
    '%u006d',
    ' ',
    '\n',
    '\xff',
    'm',
    '{"',
    '"',
  ],
  async check(bytes) {
    const field = await urlFormField(bytes, 'model');
    if (field.kind === 'problem') return field.problem;
    const wanted = field.kind === 'value' ? [field.value] : [];
    assertSame(new URLSearchParams(`&${bytes.toString()}`).getAll('model'), wanted, 'as the URL standard reads it');
    assert.equal(sloppyUrlReader(bytes, 'model').length, wanted.length, 'as a careless reader reads it');
    return field.kind;
  },
};

export const TARGETS: readonly FuzzTarget[] = [
  JSON_TARGET,
  MULTIPART,
  MEDIA_TYPE,
  PATH,
  URL_FORM,
  CONNECTION_START,
  BODY_START,
];
