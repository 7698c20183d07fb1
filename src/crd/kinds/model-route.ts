// CRD: the kind ModelRoute: models, where they are served, and who may use how much of them.
import { USER_PART, authentication, userNeedsAuthentication } from './authentication.ts';
import { ruleMatches } from './match.ts';
import { modelRateLimiting } from './rate-limiting.ts';
import { list, object, setOf, text } from '../schema.ts';
import type { Infer } from '../schema.ts';
import { NAMELESS_TARGET, TARGET_RULES, targets } from './target.ts';
import { host, label, pathPrefix, workloadSelector } from './values.ts';

const model = (description: string) => text(description, { max: 253 });

const rule = object(
  'Takes the requests that match. The first rule that matches is used.',
  {},
  {
    name: label('Name of the rule.'),
    matches: ruleMatches,
    targets: targets('Upstreams of this rule; absent: those of the object.'),
  },
);
/** A rule of a ModelRoute. */
export type RouteRuleSpec = Infer<typeof rule>;

/** `spec` of a ModelRoute. */
export const modelRouteSpec = object(
  'What is wanted.',
  {},
  {
    modelName: model(
      'The model that requests name, in full. "*" alone: every model of the selected pods, and on a shared limiter every model of its host and prefix; routes that name a model come first.',
    ),
    loraAdapters: setOf(
      'LoRA adapters that requests may name in place of the model. Not with modelName "*", which takes them too.',
      model('Name of an adapter, in full.'),
      { max: 10 },
    ),
    hostnames: setOf(
      'Hosts that this route answers on; absent: all.',
      host('A host name, or *.example.com for every host below it.'),
      { max: 16 },
    ),
    pathPrefix: pathPrefix(),
    rules: list('First match wins. None: one rule that takes everything of these models.', rule, { max: 16 }),
    targets: targets('Upstreams of the rules that have none of their own.'),
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

/** `spec` of a ModelRoute, defaults applied. */
export type ModelRouteSpec = Infer<typeof modelRouteSpec>;
