// CRD: the kind MCPServer: a server of MCP tools and who may call them how often.
import { USER_PART, authentication, userNeedsAuthentication } from './authentication.ts';
import { mcpRateLimiting } from './rate-limiting.ts';
import { choice, object, setOf, withDefault } from '../schema.ts';
import type { Infer } from '../schema.ts';
import { TARGET_RULES, targets } from './target.ts';
import { host, pathPrefix, workloadSelector } from './values.ts';

const USER_TOOLS = '(has(self.rateLimiting.tools) && self.rateLimiting.tools.exists(t, has(t.perUser)))';

/** `spec` of an MCPServer. */
export const mcpServerSpec = object(
  'What is wanted.',
  {},
  {
    transport: withDefault(choice('How clients speak to the server.', ['streamable-http', 'sse']), 'streamable-http'),
    hostnames: setOf(
      'Hosts that this server answers on; absent: all.',
      host('A host name, or *.example.com for every host below it.'),
      { max: 16 },
    ),
    pathPrefix: pathPrefix(),
    targets: targets('Upstreams.'),
    workloadSelector,
    authentication,
    rateLimiting: mcpRateLimiting,
  },
  [userNeedsAuthentication(['has(self.rateLimiting.perUser)', USER_TOOLS, USER_PART]), ...TARGET_RULES],
);

/** `spec` of an MCPServer, defaults applied. */
export type MCPServerSpec = Infer<typeof mcpServerSpec>;
