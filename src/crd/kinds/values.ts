// CRD: the small values that several parts of the API share: names, durations, decimals, references to Secrets.
import { DURATION_PATTERN } from '../../lib/values/duration.ts';
import { DEFAULTS } from '../defaults.ts';
import { MAX_INTEGER, integer, mapOf, object, setOf, text, withDefault, withDefaultWords } from '../schema.ts';
import type { Infer, Schema } from '../schema.ts';

const LABEL_PATTERN = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$';
const SUBDOMAIN_PATTERN = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$';
const HOSTNAME_PATTERN = '^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$';
/** A hostname, or `*.` and one. */
const HOST_PATTERN = `^(\\*\\.)?${HOSTNAME_PATTERN.slice(1)}`;
const HEADER_PATTERN = "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$";
const ADDRESS_PATTERN = '^([-a-zA-Z0-9._]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$';
const URL_PATTERN = '^https?://[^\\s/?#@]+(/[^\\s?#]*)?$';
/** RE2 of a decimal of the API: digits, at most 9 of them behind the point. */
export const DECIMAL_PATTERN = '^[0-9]{1,12}(\\.[0-9]{1,9})?$';

/** A DNS label: lower-case letters, digits and "-", at most 63. */
export function label(description: string): Schema<string> {
  return text(description, { max: 63, pattern: LABEL_PATTERN });
}

/** The name of a Kubernetes object. */
export function objectName(description: string): Schema<string> {
  return text(description, { max: 253, pattern: SUBDOMAIN_PATTERN });
}

export function hostname(description: string): Schema<string> {
  return text(description, { max: 253, pattern: HOSTNAME_PATTERN });
}

/** A hostname, or `*.example.com` for every host below it. */
function host(description: string): Schema<string> {
  return text(description, { max: 253, pattern: HOST_PATTERN });
}

/** The name of an HTTP header, in any case. */
export function headerName(description: string): Schema<string> {
  return text(description, { max: 128, pattern: HEADER_PATTERN });
}

/** `host:port`; an IPv6 host in brackets. */
export function address(description: string): Schema<string> {
  return text(description, { max: 270, pattern: ADDRESS_PATTERN });
}

/** An http or https URL without user, password, query and fragment. */
export function httpUrl(description: string): Schema<string> {
  return text(description, { max: 2048, pattern: URL_PATTERN });
}

/** A duration as Kubernetes writes it, more than 0 and at most 8784h. */
export function duration(description: string): Schema<string> {
  const grammar = `self.matches('${DURATION_PATTERN}')`;
  return text(`${description} A duration like 1m, 1h30m or 250ms; more than 0 and at most 8784h.`, {
    max: 28,
    pattern: DURATION_PATTERN,
    rules: [
      {
        rule: `!${grammar} || (duration(self) > duration('0s') && duration(self) <= duration('8784h'))`,
        message: 'must be more than 0 and at most 8784h',
      },
    ],
  });
}

/** An exact decimal in a string: "0.15". */
export function decimal(description: string): Schema<string> {
  return text(`${description} A decimal in quotes, like "0.15".`, { max: 22, pattern: DECIMAL_PATTERN });
}

/** The name of a time zone. The status reports one that does not exist. */
export function timeZone(): Schema<string> {
  return withDefault(text('IANA name of the time zone, like Europe/Berlin.', { max: 64 }), DEFAULTS.timeZone);
}

/** A CIDR or a plain address. The status reports one that is invalid. */
export function cidr(): Schema<string> {
  return text('A CIDR like 10.0.0.0/8 or 2001:db8::/32, or an address.', { max: 64 });
}

/** A regular expression. The status reports one that does not compile. */
export function regex(description: string): Schema<string> {
  return text(`${description} RE2 syntax; it must match the whole text.`, { max: 512 });
}

const secretName = objectName(
  'Name of a Secret in the namespace of this object. It must carry the label weir.dev/credential: "true".',
);

const secretKeySchema = object(
  'A key of a Secret in the namespace of this object. The Secret must carry the label weir.dev/credential: "true".',
  {
    name: secretName,
    key: text('Key in the Secret.', { max: 253, pattern: '^[-._a-zA-Z0-9]+$' }),
  },
  {},
);
/** One entry of a Secret of the object's own namespace. */
export type SecretKeyRef = Infer<typeof secretKeySchema>;

/** A reference to one entry of a Secret; `what` says what it holds. */
export function secretKeyRef(what: string): Schema<SecretKeyRef> {
  return { ...secretKeySchema, description: `${what} ${secretKeySchema.description}` };
}

const secretSchema = object(
  'A Secret in the namespace of this object. It must carry the label weir.dev/credential: "true".',
  { name: secretName },
  {},
);
/** A whole Secret of the object's own namespace. */
export type SecretRef = Infer<typeof secretSchema>;

/** A reference to a whole Secret; `what` says what it holds. */
export function secretRef(what: string): Schema<SecretRef> {
  return { ...secretSchema, description: `${what} ${secretSchema.description}` };
}

/** The pods beside which the limiters of an object run. */
export const workloadSelector = object(
  'The pods of this namespace whose sidecars enforce this object. Without it, only shared limiters do.',
  {
    matchLabels: mapOf(
      'Labels that a pod must carry, all of them. At least one is required.',
      text('Value of the label.', { min: 0, max: 63, pattern: '^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$' }),
      { min: 1, max: 16 },
    ),
  },
  {},
);
export type WorkloadSelector = Infer<typeof workloadSelector>;

/** An amount of the measure of a limit. */
export function amount(description: string, minimum: number): Schema<number> {
  return integer(`${description} At most ${MAX_INTEGER}.`, minimum);
}

/** Path below which an object is served. */
export function pathPrefix(): Schema<string> {
  return withDefaultWords(
    text('Path below which this object is served.', { max: 256, pattern: "^/[-A-Za-z0-9/_.~!$&'()*+,;=:@%]*$" }),
    '/<namespace>/<name> on a shared limiter, every path on a sidecar',
  );
}

/** Hosts that an object is served on. */
export function hostnames(): Schema<readonly string[]> {
  return withDefaultWords(
    setOf('Hosts on which this object is served.', host('A host name, or *.example.com for every host below it.'), {
      max: 16,
    }),
    'every host',
  );
}
