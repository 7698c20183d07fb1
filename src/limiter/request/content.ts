// Limiter, request stage: what a body says. In: its decoded bytes and its Content-Type; out: its JSON, or the model
// that a form names; or why it could mean one thing to the limiter and another to the upstream.
import { jsonStart, readJson, type JsonBody } from './json-body.ts';
import { charsetProblem, isJsonType, type MediaType } from './media-type.ts';
import { multipartField } from './multipart.ts';
import { urlFormField } from './url-form.ts';
import type { FormField } from './form-field.ts';

/** A body, read. */
export interface Content {
  readonly json: JsonBody;
  /** The field `model` of a form. */
  readonly formModel?: string;
}

const URL_FORM = 'application/x-www-form-urlencoded';

/**
 * Reads a body. JSON is JSON whatever its Content-Type says; a form is read where `isForm` says that the endpoint
 * takes one. Refused is a charset that is not UTF-8, and JSON that is a form with a model of its own to a reader of
 * forms.
 */
export async function readContent(bytes: Buffer, media: MediaType, isForm: boolean): Promise<Content> {
  const json = await readJson(bytes);
  if (json.kind === 'empty' || json.kind === 'ambiguous') return { json };
  if (json.kind === 'json' || isForm || isJsonType(media)) {
    const problem = charsetProblem(media);
    if (problem !== undefined) return { json: { kind: 'ambiguous', problem, code: 'unsupported_media_type' } };
  }
  if (json.kind === 'json') return { json: await withoutForm(json, bytes, media) };
  return isForm ? fromForm(json, await modelField(bytes, media)) : { json };
}

/**
 * Whether encoded bytes are a text of their own, JSON or a form, to a server that does not look at Content-Encoding.
 * Codings have room for it: brotli in blocks that are passed over, gzip in its file name. Brotli often begins with "[".
 */
export async function isTextAsSent(encoded: Buffer, media: MediaType, isForm: boolean): Promise<boolean> {
  if (jsonStart(encoded).start !== 'none') return true;
  if (!isForm || media.kind !== 'valid') return false;
  if (media.value === URL_FORM) return (await urlFormField(encoded, 'model')).kind !== 'absent';
  const boundary = media.parameters.get('boundary');
  return boundary !== undefined && encoded.includes(`--${boundary}`, 0, 'latin1');
}

/** A text can be JSON and, to a reader of forms, a form. */
async function withoutForm(json: JsonBody, bytes: Buffer, media: MediaType): Promise<JsonBody> {
  if (media.kind !== 'valid') return json;
  // Without a boundary nobody reads a form in it.
  const isUpload = media.value.startsWith('multipart/') && media.parameters.has('boundary');
  const isUrlForm = media.value === URL_FORM && (await urlFormField(bytes, 'model')).kind !== 'absent';
  if (!isUpload && !isUrlForm) return json;
  return { kind: 'ambiguous', problem: `the body is JSON, and its Content-Type says ${media.value}` };
}

function modelField(bytes: Buffer, media: MediaType): Promise<FormField> | FormField {
  if (media.kind !== 'valid') return { kind: 'absent' };
  if (media.value.startsWith('multipart/')) return multipartField(bytes, media, 'model');
  return media.value === URL_FORM ? urlFormField(bytes, 'model') : { kind: 'absent' };
}

function fromForm(json: JsonBody, field: FormField): Content {
  if (field.kind === 'problem') return { json: { kind: 'ambiguous', problem: field.problem } };
  return field.kind === 'absent' ? { json } : { json, formModel: field.value };
}
