// On a real node 6: an MCP server whose pods get their limiter by the label, called by the official client through
// its Service.
import { join } from 'node:path';
import { beforeAll, expect, test } from '@jest/globals';
import { ECHO, openSession, passedOf, SUM } from '../e2e/mcp-session.ts';
import { projectFolder } from '../rig/stack/cluster-access.ts';
import { describeInstalled } from './installed.ts';
import { namespace, workload } from './workloads.ts';

const SPACE = 'mcp';
const SERVER = '@modelcontextprotocol/server-everything/dist/index.js';

describeInstalled(
  'an MCP server',
  [namespace(SPACE, { 'weir.dev/inject': 'true' })],
  (weir) => {
    beforeAll(async () => {
      await weir().apply(
        // The official example server from this folder, on the Node of the image: the node is this machine.
        ...workload({
          namespace: SPACE,
          name: 'everything',
          image: weir().image,
          podSpec: {
            volumes: [{ name: 'packages', hostPath: { path: join(projectFolder, 'node_modules'), type: 'Directory' } }],
          },
          container: {
            command: ['node', `/srv/node_modules/${SERVER}`, 'streamableHttp'],
            args: [],
            env: [{ name: 'PORT', value: '8000' }],
            readinessProbe: { tcpSocket: { port: 'http' }, periodSeconds: 1 },
            volumeMounts: [{ name: 'packages', mountPath: '/srv/node_modules', readOnly: true }],
          },
        }),
        {
          apiVersion: 'weir.dev/v1alpha1',
          kind: 'MCPServer',
          metadata: { namespace: SPACE, name: 'everything' },
          spec: {
            transport: 'streamable-http',
            workloadSelector: { matchLabels: { app: 'everything' } },
            rateLimiting: {
              shared: { maxTokens: 10, refillPeriod: '8000h' },
              tools: [{ name: SUM.name, shared: { maxTokens: 2, refillPeriod: '8000h' } }],
            },
          },
        },
      );
      await weir().rolledOut(SPACE, 'everything');
      await weir().untilCondition(['mcpservers', SPACE, 'everything'], 'Ready', { status: 'True', summary: '1/1' });
    });

    test('its tools are limited, each on its own and together', async () => {
      const client = await openSession(`${await weir().serviceUrl(SPACE, 'everything')}/mcp`);
      try {
        expect((await client.listTools()).tools.map(({ name }) => name)).toContain(SUM.name);
        expect(await passedOf(client, SUM, 5)).toBe(2);
        expect(await passedOf(client, ECHO, 12)).toBe(8);
        expect(await passedOf(client, SUM, 2)).toBe(0);
      } finally {
        await client.close();
      }
    });
  },
  { local: true },
);
