// CRD: the kind MCPServer, an MCP server and the rate limits of its tools; in: nothing, out: schema and type of its
// spec.
import { USER_PART, authentication, userNeedsAuthentication } from './authentication.ts';
import { mcpRateLimiting } from './rate-limiting.ts';
import { DEFAULTS } from '../defaults.ts';
import { choice, object, withDefault } from '../schema.ts';
import type { Infer } from '../schema.ts';
import { TARGET_RULES, targets } from './target.ts';
import { hostnames, pathPrefix, workloadSelector } from './values.ts';

const USER_TOOLS = '(has(self.rateLimiting.tools) && self.rateLimiting.tools.exists(t, has(t.perUser)))';

/** `spec` of an MCPServer. */
export const mcpServerSpec = object(
  'The desired state.',
  {},
  {
    transport: withDefault(
      choice('Transport between clients and the server.', ['streamable-http', 'sse']),
      DEFAULTS.mcpServer.transport,
    ),
    hostnames: hostnames(),
    pathPrefix: pathPrefix(),
    targets: targets('Upstreams. A sidecar without targets sends requests to its own pod.'),
    workloadSelector,
    authentication,
    rateLimiting: mcpRateLimiting,
  },
  [userNeedsAuthentication(['has(self.rateLimiting.perUser)', USER_TOOLS, USER_PART]), ...TARGET_RULES],
);

/** `spec` of an MCPServer as it was written. */
export type MCPServerSpec = Infer<typeof mcpServerSpec>;
