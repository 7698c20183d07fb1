// CRD: the kind ModelRoute, models, their upstreams and their rate limits; in: nothing, out: schema and type of its
// spec.
import { USER_PART, authentication, userNeedsAuthentication } from './authentication.ts';
import { ruleMatches } from './match.ts';
import { modelRateLimiting } from './rate-limiting.ts';
import { list, object, setOf, text, withDefaultWords } from '../schema.ts';
import type { Infer } from '../schema.ts';
import { NAMELESS_TARGET, TARGET_RULES, targets } from './target.ts';
import { hostnames, label, pathPrefix, workloadSelector } from './values.ts';

const model = (description: string) => text(description, { max: 253 });

const rule = object(
  'A rule takes the requests that match. The first rule that matches is used.',
  {},
  {
    name: withDefaultWords(label('Name of the rule.'), 'rules[<index>]'),
    matches: ruleMatches,
    targets: withDefaultWords(targets('Upstreams of this rule.'), 'the targets of the object'),
  },
);
/** A rule of a ModelRoute. */
export type RouteRuleSpec = Infer<typeof rule>;

/** `spec` of a ModelRoute. */
export const modelRouteSpec = object(
  'The desired state.',
  {},
  {
    modelName: model(
      'The model that requests name, in full. "*" alone: every model of the selected pods, and on a shared limiter every model of its host and prefix; routes that name a model take precedence.',
    ),
    loraAdapters: setOf(
      'LoRA adapters that requests may name instead of the model. Not with modelName "*", which takes them too.',
      model('Name of an adapter, in full.'),
      { max: 10 },
    ),
    hostnames: hostnames(),
    pathPrefix: pathPrefix(),
    rules: withDefaultWords(
      list('Rules in order; the first that matches is used.', rule, { max: 16 }),
      'one rule that takes every request for these models',
    ),
    targets: targets(
      'Upstreams of the rules that have none of their own. A sidecar without targets sends requests to its own pod.',
    ),
    workloadSelector,
    authentication,
    rateLimiting: modelRateLimiting,
  },
  [
    {
      rule: 'has(self.modelName) || (has(self.loraAdapters) && size(self.loraAdapters) > 0)',
      message: 'at least one of modelName or loraAdapters must be set',
    },
    {
      rule: "!has(self.modelName) || self.modelName != '*' || !has(self.loraAdapters) || size(self.loraAdapters) == 0",
      fieldPath: '.loraAdapters',
      message: 'modelName "*" takes every model, adapters too: remove loraAdapters',
    },
    userNeedsAuthentication([USER_PART]),
    ...TARGET_RULES,
    {
      rule: `has(self.workloadSelector) || !has(self.rules) || self.rules.all(r, !has(r.targets) || r.targets.all(t, has(t.service) || has(t.url)))`,
      fieldPath: '.rules',
      message: NAMELESS_TARGET,
    },
  ],
);

/** `spec` of a ModelRoute as it was written. */
export type ModelRouteSpec = Infer<typeof modelRouteSpec>;
