// Controller: the objects of Weir that exist. Input: the door to the API server, and namespaces. Output: each object
// with its kind.
import { KINDS } from '../../crd/kinds/kinds.ts';
import { hasStatus, type Kube, type ListPage } from '../kube/kube-api.ts';
import type { StoredObject } from '../kube/kube-types.ts';

const PAGE = 500;

/** Page by page, of these namespaces (empty: all). A kind that is not installed has none. */
export async function* existingObjects(
  kube: Pick<Kube, 'list'>,
  namespaces: readonly string[],
): AsyncGenerator<StoredObject> {
  const places = namespaces.length === 0 ? [undefined] : namespaces;
  for (const type of KINDS) {
    for (const namespace of places) {
      let next: string | undefined;
      do {
        const page = await kube
          .list<StoredObject>(type, { namespace, limit: PAGE, ...(next ? { next } : {}) })
          .catch(emptyWhenMissing);
        // Items of a list do not say their kind.
        for (const object of page.items) yield { ...object, kind: type.kind };
        next = page.next;
      } while (next !== '');
    }
  }
}

function emptyWhenMissing(error: unknown): ListPage<StoredObject> {
  if (hasStatus(error, 404)) return { items: [], resourceVersion: '', next: '' };
  throw error;
}
