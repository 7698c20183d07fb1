// Lib: an observer that can fail without anybody noticing but the one who must. In: an object whose methods return
// nothing that matters (metrics, a logger, a listener); out: the same object, whose methods do not throw.

/**
 * Wraps `target`: what a method throws goes to `onThrow`, and the method returns undefined. For observers alone: a
 * method whose answer somebody needs must not be hidden behind this.
 */
export function guarded<T extends object>(target: T, onThrow: (error: unknown) => void): T {
  const wrapped = new Map<PropertyKey, unknown>();
  return new Proxy(target, {
    get: (_target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      let safe = wrapped.get(name);
      if (safe === undefined) {
        safe = (...args: unknown[]): unknown => attempt(() => Reflect.apply(member, target, args) as unknown, onThrow);
        wrapped.set(name, safe);
      }
      return safe;
    },
  });
}

/** Calls `action`; what it throws goes to `onThrow`, whose own errors are dropped. */
export function attempt<T>(action: () => T, onThrow: (error: unknown) => void = () => undefined): T | undefined {
  try {
    return action();
  } catch (error) {
    try {
      onThrow(error);
    } catch {
      // Nobody is left who could be asked.
    }
    return undefined;
  }
}
