// Controller: the objects of Weir that exist. Input: the door to the API server, and namespaces. Output: each object
// with its type.
import { hasStatus, type Kube, type ListPage } from '../kube/kube-api.ts';
import { RESOURCES, type ResourceType, type StoredObject } from '../kube/kube-types.ts';

export interface ExistingObject {
  readonly kind: StoredObject['kind'];
  readonly type: ResourceType;
  readonly object: StoredObject;
}

const KINDS: readonly (readonly [StoredObject['kind'], ResourceType])[] = [
  ['ModelRoute', RESOURCES.modelRoutes],
  ['MCPServer', RESOURCES.mcpServers],
];
const PAGE = 500;

/** Page by page, of these namespaces (empty: all). A kind that is not installed has none. */
export async function* existingObjects(
  kube: Pick<Kube, 'list'>,
  namespaces: readonly string[],
): AsyncGenerator<ExistingObject> {
  const places = namespaces.length === 0 ? [undefined] : namespaces;
  for (const [kind, type] of KINDS) {
    for (const namespace of places) {
      let next: string | undefined;
      do {
        const page = await kube
          .list<StoredObject>(type, { namespace, limit: PAGE, ...(next ? { next } : {}) })
          .catch(emptyWhenMissing);
        for (const object of page.items) yield { kind, type, object };
        next = page.next;
      } while (next !== '');
    }
  }
}

function emptyWhenMissing(error: unknown): ListPage<StoredObject> {
  if (hasStatus(error, 404)) return { items: [], resourceVersion: '', next: '' };
  throw error;
}
