// Limiter, store: whether servers throw keys away when memory is short. In: a client; out: what its servers tell.
import { Cluster, type Redis } from '../../lib/redis-client.ts';

export const NO_EVICTION = 'noeviction';

/**
 * The first policy of its servers that evicts, else `noeviction`; undefined when none tells. Rejects when a server
 * does not answer.
 */
export async function evictionPolicyOf(client: Redis | Cluster): Promise<string | undefined> {
  const servers = client instanceof Cluster ? client.nodes('master') : [client];
  const answers = await Promise.all(servers.map((server) => server.info('memory')));
  const policies = answers.flatMap((text) => /^maxmemory_policy:([\w-]+)/m.exec(text)?.[1] ?? []);
  return policies.find((policy) => policy !== NO_EVICTION) ?? policies[0];
}
