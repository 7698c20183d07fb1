// The faults that `make mutants` seeds: each a way that a limiter or an operator can lie, and the test that must notice.

export interface Fault {
  readonly name: string;
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** Test files to run. */
  readonly tests: readonly string[];
  /** Part of the full name of the test that must turn red. */
  readonly caughtBy: string;
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'refusal-writes',
    file: 'src/limiter/store/lua/decide.lua',
    find: 'if refused + code == 0 then',
    replace: 'if code == 0 then',
    tests: ['test/limiter/store/redis-store.redis.test.ts'],
    caughtBy: 'trap 3: a refusal by one bucket takes nothing from another',
  },
  {
    name: 'ttl-renewed-on-refusal',
    file: 'src/limiter/store/lua/decide.lua',
    find: '      reply[size] = refused\n',
    replace:
      "      reply[size] = refused\n      if refused == 1 then\n        redis.call('PEXPIRE', KEYS[program[cursor + 1]], 3600000)\n      end\n",
    tests: ['test/limiter/store/redis-behaviour.redis.test.ts'],
    caughtBy: 'trap 5: a refusal writes nothing',
  },
  {
    name: 'settle-applied-twice',
    file: 'src/limiter/store/lua/decide.lua',
    find: "redis.call('SET', KEYS[marker], '1', 'NX', 'PX', REMEMBER_MS)",
    replace: "redis.call('SET', KEYS[marker], '1', 'PX', REMEMBER_MS)",
    tests: ['test/limiter/store/redis-behaviour.redis.test.ts'],
    caughtBy: 'a settlement sent by two limiters is applied once',
  },
  {
    name: 'one-bucket-of-two-taken',
    file: 'src/limiter/store/lua/decide.lua',
    find: 'used[k] = used[k] + program[i + 1]',
    replace: 'used[k] = used[k] + (i == cursor + 1 and program[i + 1] or 0)',
    tests: ['test/limiter/store/redis-store.redis.test.ts'],
    caughtBy: 'contract: Redis',
  },
  {
    name: 'tick-loses-one',
    file: 'src/limiter/store/redis-store.ts',
    find: 'else asked.push({ operation, resolve, reject });',
    replace: 'else asked[asked.length - 1] = { operation, resolve, reject };',
    tests: ['test/limiter/store/redis-behaviour.redis.test.ts'],
    caughtBy: 'no decision of a tick is lost or doubled',
  },
  {
    name: 'ack-assumed',
    file: 'src/controller/push/push-session.ts',
    find: 'this.#parts.acks.sent(name, version);',
    replace: 'this.#parts.acks.acked(name, version);',
    tests: ['test/controller/push/push-session.unit.test.ts'],
    caughtBy: 'trap 40: a config counts as in force when it was acknowledged, not when it was sent',
  },
  {
    name: 'nack-only-logged',
    file: 'src/controller/push/push-session.ts',
    find: 'acks.rejected(name, version, refusal);',
    replace: 'acks.acked(name, version);',
    tests: ['test/controller/push/push-session.unit.test.ts'],
    caughtBy: 'trap 41: a NACK rejects what it names',
  },
  {
    name: 'last-good-dropped',
    file: 'src/limiter/config/held-configs.ts',
    find: 'if (!outcome.accepted)',
    replace: 'if (!outcome.accepted) this.#held.delete(outcome.name);\n      if (!outcome.accepted)',
    tests: ['test/limiter/config/config-client.unit.test.ts'],
    caughtBy: 'the rest of the response is in force, the last good version too',
  },
  {
    name: 'snapshot-resent-whole',
    file: 'src/controller/push/push-session.ts',
    find: 'if (this.#held.get(name) === version && !this.#isInFlight(name)) return undefined;',
    replace: '',
    tests: ['test/controller/push/push-session.unit.test.ts'],
    caughtBy: 'the first response has only what differs',
  },
  {
    name: 'key-without-namespace',
    file: 'src/limiter/decide/keys.ts',
    find: 'return `weir:{${object.namespace}}:${names}:${fingerprint}`;',
    replace: 'return `weir:{all}:${names}:${fingerprint}`;',
    tests: ['test/limiter/decide/keys.unit.test.ts'],
    caughtBy: 'names namespace, kind, object and limit',
  },
  {
    name: 'key-parts-run-together',
    file: 'src/limiter/decide/keys.ts',
    find: 'texts.map((text) => `${text.length}:${text}`)',
    replace: 'texts',
    tests: ['test/limiter/decide/keys.unit.test.ts'],
    caughtBy: 'trap 32: a + b:c is not a:b + c, nor any other way to cut',
  },
  {
    name: 'refund-dropped',
    file: 'src/limiter/decide/pending.ts',
    find: "if (actual === 'nothing') return each(() => 0);",
    replace: "if (actual === 'nothing') return each(({ amount }) => amount);",
    tests: ['test/limiter/decide/settle.unit.test.ts'],
    caughtBy: 'trap 2: what the upstream never did is refunded',
  },
  {
    name: 'probe-by-time',
    file: 'src/limiter/store/redis-connection.ts',
    find: 'await this.#probeWrite(this, tag, deadlineMs);',
    replace: 'await this.#askTime();',
    tests: ['test/limiter/store/server-words.redis.test.ts'],
    caughtBy: 'an idle store finds it out by itself',
  },
  {
    name: 'each-refund-asks-again',
    file: 'src/limiter/store/exhausted-cache.ts',
    find: 'refunds.heedAtMs = Math.max(nowMs, refunds.freeAtMs - ASK_AGAIN_MS);',
    replace: 'refunds.heedAtMs = nowMs;',
    tests: ['test/limiter/store/store-parts.unit.test.ts'],
    caughtBy: 'trap 53: refusals under a stream of refunds',
  },
  {
    name: 'share-per-flap',
    file: 'src/limiter/decide/degrade.ts',
    find: 'if (share !== undefined && nowMicros < share.untilMicros) memory.share = share;',
    replace: '',
    tests: ['test/limiter/decide/degrade.unit.test.ts'],
    caughtBy: 'does not multiply shares',
  },
  {
    name: 'last-good-form-forgotten',
    file: 'src/reconcile/form.ts',
    find: 'if (lastGood === undefined || isPresentGood) return [present];',
    replace: 'if (lastGood === undefined || present.generation > 0) return [present];',
    tests: ['test/reconcile/golden.unit.test.ts'],
    caughtBy: 'route-invalid-edit-last-good',
  },
  {
    name: 'both-in-conflict-accepted',
    file: 'src/reconcile/precedence.ts',
    find: 'return inForce !== undefined && conflicts(inForce, form);',
    replace: 'return inForce === form;',
    tests: ['test/reconcile/precedence.unit.test.ts'],
    caughtBy: 'trap 14: the older one is accepted and the younger one says Conflicted',
  },
  {
    name: 'one-of-two-is-enough',
    file: 'src/reconcile/status/programmed.ts',
    find: 'if (synced < desired) {',
    replace: 'if (synced === 0) {',
    tests: ['test/reconcile/golden.unit.test.ts'],
    caughtBy: 'programmed-partially-programmed',
  },
  {
    name: 'unlimited-pods-hidden',
    file: 'src/controller/loop/limiter-tally.ts',
    find: 'selected.filter((pod) => !isLimited(pod))',
    replace: 'selected.filter((pod) => isInjected(pod) && !isLimited(pod))',
    tests: ['test/controller/loop/limiter-tally.unit.test.ts'],
    caughtBy: 'pods without a limiter are named',
  },
  {
    name: 'store-trouble-kept-quiet',
    file: 'src/reconcile/status/degraded.ts',
    find: 'const [gravest] = present;',
    replace: "const [gravest] = present.filter((kind) => kind !== 'unreachable');",
    tests: ['test/reconcile/golden.unit.test.ts'],
    caughtBy: 'degraded-store-unreachable',
  },
  {
    name: 'unenforced-field-accepted',
    file: 'src/reconcile/validate.ts',
    find: '.filter((use) => !use.enforced)',
    replace: '.filter((use) => use.enforced && !use.enforced)',
    tests: ['test/reconcile/every-field.unit.test.ts'],
    caughtBy: 'every field that a specimen sets is enforced or named by NotSupported',
  },
  {
    name: 'secret-of-another-namespace',
    file: 'src/reconcile/secrets.ts',
    find: 'world.secretOf(config.namespace, name)',
    replace: "world.secretOf('other', name)",
    tests: ['test/reconcile/golden.unit.test.ts'],
    caughtBy: 'secrets-missing',
  },
  {
    name: 'lost-field-overlooked',
    file: 'src/crd/narrowing.ts',
    find: 'lostInSchema(other.properties?.[name], schema',
    replace: 'lostInSchema(other.properties?.[name] ?? {}, schema',
    tests: ['test/crd/narrowing.unit.test.ts'],
    caughtBy: 'each property that',
  },
  {
    name: 'old-leader-writes',
    file: 'src/controller/kube/write-fence.ts',
    find: 'return (...args: unknown[]): unknown => {\n          check();',
    replace: 'return (...args: unknown[]): unknown => {',
    tests: ['test/controller/kube/write-fence.unit.test.ts'],
    caughtBy: 'a write whose lease ended while it waited for a connection is not sent',
  },
];
