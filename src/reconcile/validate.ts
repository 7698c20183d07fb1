// Reconcile, validate: an object that schema and CEL admit -> everything else that is wrong with it, all at once.
import { usesOf, valuesAt } from '../contract/capabilities.ts';
import { namesModels, type WeirObject } from '../crd/types.ts';
import { isNameless } from './compile/compile-routing.ts';
import { mayUseDefault } from './compile/compile-store.ts';
import {
  type FieldCheck,
  checkAdapterName,
  checkAddress,
  checkCidr,
  checkModelName,
  checkPath,
  checkPathPrefix,
  checkRegex,
  checkTimeZone,
  checkUrl,
} from './field-checks.ts';
import type { Problem } from './problems.ts';
import type { ReconcileSettings } from './types.ts';
import { unsupportedMessage } from './unsupported.ts';

const LIMITS = 'spec.rateLimiting.limits[]';
const WHEN = `${LIMITS}.when[]`;
const MATCHES = 'spec.rules[].matches';
const REDIS = 'spec.rateLimiting.redis';

/** Which values are checked, and how. */
const FIELD_CHECKS: readonly (readonly [FieldCheck, readonly string[]])[] = [
  [checkRegex, [...regexes(WHEN, ['header', 'query', 'claim', 'path']), ...regexes(MATCHES, ['path', 'headers[]'])]],
  [checkCidr, [`${WHEN}.clientIP[]`, 'spec.authentication.trustedPeers[]']],
  [checkTimeZone, [`${LIMITS}.window.timeZone`, `${WHEN}.schedule.timeZone`]],
  [checkUrl, ['spec.targets[].url', 'spec.rules[].targets[].url', 'spec.authentication.jwt.jwksUri']],
  [checkAddress, [`${REDIS}.address`, `${REDIS}.sentinel.addresses[]`, `${REDIS}.cluster.addresses[]`]],
  [checkPathPrefix, ['spec.pathPrefix']],
  [checkModelName, ['spec.modelName']],
  [checkAdapterName, ['spec.loraAdapters[]']],
  [checkPath, [`${WHEN}.path.exact`, `${WHEN}.path.prefix`, `${MATCHES}.path.exact`, `${MATCHES}.path.prefix`]],
];

function regexes(below: string, fields: readonly string[]): string[] {
  return fields.map((field) => `${below}.${field}.regex`);
}

/** The message of RedisRequired. */
export const REDIS_REQUIRED =
  "rateLimiting with scope Shared requires Redis: set rateLimiting.redis or the operator's default";

/** What holds for a spec of any shape: invalid values, and fields that no limiter enforces. */
export function validateValues(spec: unknown): Problem[] {
  return [...checkFields({ spec }), ...checkSupport({ spec })];
}

/** Everything that is wrong with an object that schema and CEL admit; empty: it may be in force. */
export function validate(object: WeirObject, settings: ReconcileSettings): Problem[] {
  return [
    ...validateValues(object.spec),
    ...checkTargets(object),
    ...checkPrices(object),
    ...checkRedis(object, settings),
  ];
}

function checkFields(object: { readonly spec: unknown }): Problem[] {
  return FIELD_CHECKS.flatMap(([check, paths]) =>
    paths
      .flatMap((path) => valuesAt(object, path))
      .flatMap(({ path, value }) => {
        const message = typeof value === 'string' ? check(value) : undefined;
        return message === undefined ? [] : [{ reason: 'Invalid' as const, path, message }];
      }),
  );
}

/**
 * A target without service and url is the sidecar's own pod; among others it has no address to distribute requests
 * to.
 */
function checkTargets(object: WeirObject): Problem[] {
  const { targets = [], ...spec } = object.spec;
  const rules = 'rules' in spec ? (spec.rules ?? []) : [];
  const lists = [targets, ...rules.map((rule) => rule.targets ?? [])];
  return lists.flatMap((list, index) => {
    const nameless = list.filter(isNameless).length;
    if (nameless === 0 || nameless === list.length) return [];
    const path = index === 0 ? 'spec.targets' : `spec.rules[${index - 1}].targets`;
    return [
      {
        reason: 'Invalid' as const,
        path,
        message: 'set service or url in every target, or in none of them, which uses the pod of the sidecar',
      },
    ];
  });
}

function checkPrices(object: WeirObject): Problem[] {
  const { rateLimiting } = object.spec;
  if (!namesModels(object) || rateLimiting === undefined) return [];
  const priced = new Set((rateLimiting.prices ?? []).map((price) => price.model));
  const models = [object.spec.modelName, ...(object.spec.loraAdapters ?? [])];
  const missing = models.filter((model) => model !== undefined && model !== '*' && !priced.has(model));
  return (rateLimiting.limits ?? []).flatMap((limit, index) =>
    limit.measure !== 'Cost'
      ? []
      : missing.map((model) => ({
          reason: 'Invalid' as const,
          path: `spec.rateLimiting.limits[${index}]`,
          message: `measure Cost requires a price for model ${JSON.stringify(model)}`,
        })),
  );
}

/** What the API accepts and no limiter of this version enforces: it must never look as if it were enforced. */
function checkSupport(object: { readonly spec: unknown }): Problem[] {
  const names = new Map(valuesAt(object, `${LIMITS}.name`).map(({ path, value }) => [path, value]));
  return usesOf(object)
    .filter((use) => !use.enforced)
    .map((use) => {
      const [limit] = /^spec\.rateLimiting\.limits\[\d+\]/.exec(use.path) ?? [];
      const name = names.get(`${limit ?? ''}.name`);
      const message = unsupportedMessage(use, typeof name === 'string' ? name : undefined);
      return { reason: 'NotSupported', path: use.path, message };
    });
}

function checkRedis(object: WeirObject, settings: ReconcileSettings): Problem[] {
  const { rateLimiting } = object.spec;
  if (rateLimiting === undefined || rateLimiting.redis !== undefined || rateLimiting.scope === 'Local') return [];
  if (settings.defaultStore === undefined) return [{ reason: 'RedisRequired', message: REDIS_REQUIRED }];
  if (mayUseDefault(object, settings)) return [];
  const { namespace } = object.metadata;
  const message =
    `the operator's default Redis has one password for all namespaces, which sidecars of namespace ${namespace} do not get: ` +
    "set rateLimiting.redis, or add the namespace to the operator's --default-redis-namespaces";
  return [{ reason: 'RedisRequired', message }];
}
