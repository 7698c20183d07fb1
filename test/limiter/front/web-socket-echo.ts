// Test part: the smallest WebSocket server: it accepts every handshake and sends text frames back.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const TEXT = 0x81;
const CLOSE = 0x88;

export interface EchoServer {
  readonly port: number;
  /** Handshakes, as they arrived. */
  readonly requests: IncomingMessage[];
  close(): void;
}

export async function webSocketEcho(): Promise<EchoServer> {
  const requests: IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((_request, response) => response.end('plain'));
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    requests.push(request);
    sockets.add(socket);
    socket.on('error', () => undefined);
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64');
    const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
    socket.write(`${lines.join('\r\n')}\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    if (head.length > 0) socket.unshift(head);
    echo(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Frames of at most 125 bytes, masked as clients must. */
function echo(socket: Socket): void {
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    for (let length = (bytes[1] ?? 0) & 0x7f; bytes.length >= 6 + length && bytes.length > 1;) {
      const mask = bytes.subarray(2, 6);
      const payload = bytes.subarray(6, 6 + length).map((byte, index) => byte ^ (mask[index % 4] ?? 0));
      const opening = bytes[0] ?? 0;
      bytes = bytes.subarray(6 + length);
      length = (bytes[1] ?? 0) & 0x7f;
      if (opening === CLOSE) socket.end(Buffer.concat([Buffer.from([CLOSE, payload.length]), payload]));
      else socket.write(Buffer.concat([Buffer.from([TEXT, payload.length]), payload]));
    }
  });
}

/** Opens a WebSocket and echoes texts through it. */
export async function conversation(url: string, ...texts: readonly string[]): Promise<string[]> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'));
  const heard: string[] = [];
  await new Promise<void>((resolve, reject) => {
    socket.onerror = () => {
      reject(new Error('the WebSocket failed'));
    };
    socket.onopen = () => {
      for (const text of texts) socket.send(text);
    };
    socket.onmessage = ({ data }) => {
      heard.push(String(data));
      if (heard.length === texts.length) socket.close();
    };
    socket.onclose = () => {
      resolve();
    };
  });
  return heard;
}
