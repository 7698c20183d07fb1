// Tests: compares the offline verdict with that of the API server, as the API defines equal; in: both, out:
// differences.
import type { Finding, ValidationResult } from '../../src/crd/validate.ts';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import type { ServerCause, ServerVerdict } from './api-server.ts';

/** The API server's note that it left the CEL rules out because the schema is broken. */
const RULES_LEFT_OUT = 'some validation rules were not checked';

const MESSAGES = new Set(KINDS.flatMap(({ spec }) => messagesOf(spec)));

/**
 * What the two verdicts do not agree on; empty when they are equal. Equal: the same unknown and duplicate fields, or
 * else the same (path, type) of schema errors and, unless the API server left the rules out, the same (path, message)
 * of rules.
 */
export function disagreements(offline: ValidationResult, server: ServerVerdict): string[] {
  const decode = offline.findings.filter(({ stage }) => stage === 'decode');
  if (server.code === 400) return compare(decode.map(decodeKey), strictErrors(server.message, decode));
  if (decode.length > 0) return compare(decode.map(decodeKey), []);
  if (server.code < 300) return compare(offline.findings.map(shown), []);
  const left = server.causes.some(({ message }) => message.includes(RULES_LEFT_OUT));
  const theirs = server.causes.filter(({ message }) => !message.includes(RULES_LEFT_OUT));
  const rules = theirs.filter((cause) => ruleMessage(cause) !== undefined);
  const schema = theirs.filter((cause) => ruleMessage(cause) === undefined);
  return [
    ...compare(
      keysOf(offline, 'schema', ({ path, type }) => `${path} ${type}`),
      schema.map(({ field, reason }) => `${field} ${reason.replace('FieldValue', '')}`),
    ),
    ...(left
      ? []
      : compare(
          keysOf(offline, 'cel', ({ path, message }) => `${path} ${message}`),
          rules.map((cause) => `${cause.field} ${ruleMessage(cause) ?? ''}`),
        )),
  ];
}

function keysOf(offline: ValidationResult, stage: Finding['stage'], key: (finding: Finding) => string): string[] {
  return offline.findings.filter((finding) => finding.stage === stage).map(key);
}

/** The message of a CEL rule without the value that the API server puts before it. */
function ruleMessage(cause: ServerCause): string | undefined {
  const message = cause.message.replace(/^Invalid value: ("(\w|\\")*"|\{.*\}|\[.*\]): /s, '');
  return MESSAGES.has(message) ? message : undefined;
}

function messagesOf(schema: (typeof KINDS)[number]['spec']): string[] {
  const inner = [...Object.values(schema.properties ?? {}), ...(schema.items ? [schema.items] : [])];
  return [
    ...(schema['x-kubernetes-validations'] ?? []).map(({ message }) => message),
    ...inner.flatMap((field) => messagesOf(field)),
  ];
}

/** Unknown and duplicate fields by name; anything else that could not be decoded only as such. */
function decodeKey({ type, path, message }: Finding): string {
  if (type === 'UnknownField') return `unknown ${path}`;
  return type === 'DuplicateField' ? `duplicate ${/"(.*)"/.exec(message)?.[1] ?? ''}` : 'unreadable';
}

function strictErrors(message: string, offline: readonly Finding[]): string[] {
  // another version or kind is another resource, and what the API server says of it is beside the point
  if (offline.some(({ path }) => path === 'apiVersion' || path === 'kind')) return ['unreadable'];
  const unknown = [...message.matchAll(/unknown field "((?:[^"\\]|\\.)*)"/g)].map(
    ([, path]) => `unknown ${path ?? ''}`,
  );
  const twice = [...message.matchAll(/key "(.*?)" already set/g)].map(([, key]) => `duplicate ${key ?? ''}`);
  const found = [...unknown, ...twice];
  if (found.length > 0) return found;
  return offline.some(({ type }) => type !== 'UnknownField' && type !== 'DuplicateField') ? ['unreadable'] : [message];
}

function compare(ours: readonly string[], theirs: readonly string[]): string[] {
  const missing = [...new Set(theirs)].filter((key) => !ours.includes(key));
  const extra = [...new Set(ours)].filter((key) => !theirs.includes(key));
  return [...missing.map((key) => `only the API server: ${key}`), ...extra.map((key) => `only offline: ${key}`)];
}

function shown({ stage, path, message }: Finding): string {
  return `${stage} ${path} ${message}`;
}
