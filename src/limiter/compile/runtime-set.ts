// Limiter, between config source and requests: the immutable set of compiled objects and its route index. A change
// makes a new set; swapping one reference puts it in effect, and a request in flight keeps the object it was routed
// to.
import { PersistentMap } from '../../lib/persistent-map.ts';
import { takesModel } from '../request/model-request.ts';
import { RouteIndex, type RouteOptions } from '../route/route-index.ts';
import type { RuntimeObject } from './runtime-object.ts';

/** All objects in effect on one limiter. */
export class RuntimeSet {
  readonly index: RouteIndex;
  readonly #objects: PersistentMap<RuntimeObject>;

  private constructor(index: RouteIndex, objects: PersistentMap<RuntimeObject>) {
    this.index = index;
    this.#objects = objects;
  }

  /** A set without objects. */
  static empty(options: RouteOptions): RuntimeSet {
    return new RuntimeSet(RouteIndex.empty(options), PersistentMap.empty());
  }

  get size(): number {
    return this.#objects.size;
  }

  /** The object of a resource name `<kind>/<namespace>/<name>`. */
  get(resourceName: string): RuntimeObject | undefined {
    return this.#objects.get(resourceName);
  }

  /** All objects, in no order that means anything. */
  objects(): IterableIterator<RuntimeObject> {
    return this.#objects.values();
  }

  /** Whether any object takes a model of that name, wherever it is served. */
  takesModel(model: string): boolean {
    for (const { routing } of this.#objects.values()) if (takesModel(routing.models, model)) return true;
    return false;
  }

  /**
   * A set with `updates` in the place of what had their names, and without `removals` (resource names; one that is not
   * there is no error). Costs as much as the change, not as the set.
   */
  withChanges(updates: readonly RuntimeObject[], removals: readonly string[]): RuntimeSet {
    let { index } = this;
    let objects = this.#objects;
    const replace = (name: string, after: RuntimeObject | undefined): void => {
      index = index.replacing(objects.get(name), after);
      objects = objects.with(name, after);
    };
    for (const name of removals) replace(name, undefined);
    for (const update of updates) replace(update.resourceName, update);
    return new RuntimeSet(index, objects);
  }
}
