// CRD: the rules of the API server for the metadata of every object; in: the metadata of a manifest, out: findings.
import { isRecord, show } from '../finding.ts';
import type { Located } from '../finding.ts';
import { unknownField } from '../structure.ts';

type Reader = (value: unknown) => boolean;
const isText: Reader = (value) => typeof value === 'string';
const isInteger: Reader = (value) => Number.isSafeInteger(value);
const isTextMap: Reader = (value) =>
  isRecord(value) && Object.values(value).every((text) => text === null || isText(text));
const RFC3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[-+]\d\d:\d\d)$/;
const isTime: Reader = (value) => isText(value) && RFC3339.test(value as string);
const isTextList: Reader = (value) => Array.isArray(value) && value.every(isText);
const isObjectList: Reader = (value) => Array.isArray(value) && value.every(isRecord);

/** Every field of ObjectMeta, and how it is decoded. */
const FIELDS: Readonly<Record<string, Reader>> = {
  name: isText,
  generateName: isText,
  namespace: isText,
  selfLink: isText,
  uid: isText,
  resourceVersion: isText,
  generation: isInteger,
  creationTimestamp: isTime,
  deletionTimestamp: isTime,
  deletionGracePeriodSeconds: isInteger,
  labels: isTextMap,
  annotations: isTextMap,
  ownerReferences: isObjectList,
  finalizers: isTextList,
  managedFields: isObjectList,
};

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const QUALIFIED = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const MAX_ANNOTATION_BYTES = 256 * 1024;

/** Strict decoding of `metadata`: unknown fields, and values that cannot be decoded. */
export function metadataFields(metadata: unknown): Located[] {
  if (metadata === undefined || metadata === null) return [];
  if (!isRecord(metadata)) return [unreadable(['metadata'], metadata)];
  return Object.entries(metadata).flatMap(([name, value]) => {
    const at = ['metadata', name];
    const reads = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    if (reads === undefined) return [unknownField(at)];
    if (value !== null && !reads(value)) return [unreadable(at, value)];
    return name === 'ownerReferences' ? unknownOwnerFields(value) : [];
  });
}

const OWNER_NAMES = ['apiVersion', 'kind', 'name', 'uid'];
const OWNER_FIELDS = [...OWNER_NAMES, 'controller', 'blockOwnerDeletion'];

function unknownOwnerFields(owners: unknown): Located[] {
  return recordsOf(owners).flatMap((owner, index) =>
    Object.keys(owner)
      .filter((field) => !OWNER_FIELDS.includes(field))
      .map((field) => unknownField(['metadata', 'ownerReferences', index, field])),
  );
}

function ownerErrors(owners: unknown): Located[] {
  return recordsOf(owners).flatMap((owner) =>
    OWNER_NAMES.filter((field) => !isFilled(owner[field])).map((field): Located => ({
      stage: 'schema',
      at: ['metadata', 'ownerReferences', field],
      type: 'Invalid',
      message: 'Invalid value: "": must not be empty',
    })),
  );
}

function recordsOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** Validation of decoded `metadata`. */
export function metadataErrors(metadata: unknown): Located[] {
  const fields = isRecord(metadata) ? metadata : {};
  return [
    ...nameErrors(fields),
    ...generateNameErrors(fields['generateName']),
    ...labelErrors(fields['labels']),
    ...annotationErrors(fields['annotations']),
    ...ownerErrors(fields['ownerReferences']),
  ];
}

function nameErrors({ name, generateName, namespace }: Readonly<Record<string, unknown>>): Located[] {
  if (!isFilled(name) && !isFilled(generateName)) {
    const message = 'Required value: name or generateName is required';
    return [{ stage: 'schema', at: ['metadata', 'name'], type: 'Required', message }, ...namespaceErrors(namespace)];
  }
  // the API server appends five characters to a generateName, cut to fit
  const full = isFilled(name) ? name : `${String(generateName).slice(0, 58)}00000`;
  const rule = 'lower-case letters, digits, "-" and ".", at most 253, beginning and ending with a letter or digit';
  const isGood = full.length <= 253 && SUBDOMAIN.test(full);
  return [...(isGood ? [] : [invalid('name', `${show(full)}: must be ${rule}`)]), ...namespaceErrors(namespace)];
}

function generateNameErrors(generateName: unknown): Located[] {
  if (!isFilled(generateName) || generateName.length <= 253) return [];
  return [invalid('generateName', `${show(generateName)}: must have at most 253 characters`)];
}

function namespaceErrors(namespace: unknown): Located[] {
  if (!isFilled(namespace) || (namespace.length <= 63 && LABEL.test(namespace))) return [];
  const rule = 'lower-case letters, digits and "-", at most 63, beginning and ending with a letter or digit';
  return [invalid('namespace', `${show(namespace)}: must be ${rule}`)];
}

function labelErrors(labels: unknown): Located[] {
  return Object.entries(isRecord(labels) ? labels : {}).flatMap(([key, value]) => {
    const isValue = value === null || value === '' || (isFilled(value) && value.length <= 63 && QUALIFIED.test(value));
    return [
      ...(isQualifiedName(key) ? [] : [invalid('labels', `${show(key)}: is not a valid label key`)]),
      ...(isValue ? [] : [invalid('labels', `${show(value)}: is not a valid label value`)]),
    ];
  });
}

function annotationErrors(annotations: unknown): Located[] {
  const entries = Object.entries(isRecord(annotations) ? annotations : {});
  const bytes = entries.reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + (isFilled(value) ? Buffer.byteLength(value) : 0),
    0,
  );
  const keys = entries
    .filter(([key]) => !isQualifiedName(key.toLowerCase()))
    .map(([key]) => invalid('annotations', `${show(key)}: is not a valid annotation key`));
  if (bytes <= MAX_ANNOTATION_BYTES) return keys;
  const message = `Too long: may not be more than ${MAX_ANNOTATION_BYTES} bytes`;
  return [...keys, { stage: 'schema', at: ['metadata', 'annotations'], type: 'TooLong', message }];
}

/** `name` or `prefix/name`, as keys of labels and annotations are. */
function isQualifiedName(key: string): boolean {
  const parts = key.split('/');
  const name = parts[parts.length - 1] ?? '';
  if (parts.length > 2 || name.length > 63 || !QUALIFIED.test(name)) return false;
  const [prefix] = parts;
  return parts.length === 1 || (prefix !== undefined && prefix.length <= 253 && SUBDOMAIN.test(prefix));
}

function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function invalid(field: string, message: string): Located {
  return { stage: 'schema', at: ['metadata', field], type: 'Invalid', message: `Invalid value: ${message}` };
}

function unreadable(at: readonly string[], value: unknown): Located {
  return { stage: 'decode', at, type: 'Unreadable', message: `cannot be decoded from ${show(value)}` };
}
