// Test upstream: the official MCP example server as a process of its own, on a free port of loopback.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePorts } from '../../../tools/node-cluster/ports.ts';

export interface EverythingServer {
  /** `http://127.0.0.1:port`; the endpoint is at `/mcp`. */
  readonly url: string;
  close(): Promise<void>;
}

/** Starts the server; resolves when it listens. */
export async function startEverythingServer(): Promise<EverythingServer> {
  const manifest = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/package.json');
  const [port] = await freePorts(1);
  const child = spawn(process.execPath, [join(dirname(manifest), 'dist', 'index.js'), 'streamableHttp'], {
    env: { ...process.env, PORT: String(port) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stderr });
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      if (line.includes('listening on port')) resolve();
    });
    child.once('error', reject);
    child.once('exit', () => {
      reject(new Error('the MCP example server ended before it listened'));
    });
  });
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
