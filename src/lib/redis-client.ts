// Lib: the one door to the Redis client. Input: where a Redis is and how to prove who asks; output: a client that
// never sends anything twice by itself, and that dials what a lookup has checked.
import { AbstractConnector, Cluster, Command, Redis, type RedisOptions } from 'ioredis';
import { connect, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export { Cluster, type Redis };

const RECONNECT_MS = 100;
/** After the server turned attempts away: refused credentials (it writes each refusal down), or was no master. */
const LONGEST_RECONNECT_MS = 1000;
/** The client waits this long for the end of a connection, also of one that has long ended. */
const DISCONNECT_TIMEOUT_MS = 100;
const CONNECT_TIMEOUT_MS = 1000;

/** A Redis deployment: exactly one of address, sentinel and cluster. Addresses are `host:port`. */
export interface RedisAddress {
  readonly address?: string;
  readonly sentinel?: { readonly masterName: string; readonly addresses: readonly string[] };
  readonly cluster?: { readonly addresses: readonly string[] };
  readonly db?: number;
}

export interface RedisLogin {
  /** Absent: the default user. */
  readonly username?: string;
  readonly password?: string;
  /** Absent: no TLS. `ca` is PEM, absent: the public authorities. Only for a single Redis. */
  readonly tls?: { readonly ca?: string; readonly serverName?: string };
}

export interface RedisClientOptions {
  /** Resolves the host of a single Redis, and may refuse to; absent: as the system does. */
  readonly lookup?: LookupFunction | undefined;
  /** How many attempts in a row the server has turned away (not: did not answer). */
  readonly rejections?: () => number;
}

type ClientOptions = Omit<RedisOptions, 'replyMapping'>;

/** Makes a client that is not connected yet; a single one rejects commands while it is not. */
export function createRedisClient(
  at: RedisAddress,
  login: RedisLogin,
  options: RedisClientOptions = {},
): Redis | Cluster {
  const { rejections = () => 0 } = options;
  const shared: ClientOptions = {
    db: at.cluster === undefined ? (at.db ?? 0) : 0, // a cluster has no other
    ...(login.username === undefined ? {} : { username: login.username }),
    ...(login.password === undefined ? {} : { password: login.password }),
    protocol: 2,
    disableClientInfo: true,
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    lazyConnect: true,
  };
  const retryStrategy = (): number => Math.min(LONGEST_RECONNECT_MS, RECONNECT_MS * 2 ** Math.min(10, rejections()));
  const single: ClientOptions = { ...shared, enableOfflineQueue: false, retryStrategy };
  if (at.cluster !== undefined) return createCluster(at.cluster.addresses, shared);
  if (at.sentinel !== undefined) {
    return new Redis({
      ...single,
      name: at.sentinel.masterName,
      sentinels: at.sentinel.addresses.map(splitAddress),
      sentinelRetryStrategy: () => RECONNECT_MS,
      sentinelCommandTimeout: CONNECT_TIMEOUT_MS, // one that says nothing is passed over
      failoverDetector: true,
    });
  }
  return new Redis({ ...single, ...singleOptions(splitAddress(at.address ?? ''), login.tls, options.lookup) });
}

interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

/** With a connector of our own where the address must be checked or the certificate's name is not that of the host. */
function singleOptions(
  server: ServerAddress,
  tls: RedisLogin['tls'],
  lookup: LookupFunction | undefined,
): Partial<ClientOptions> {
  if (tls === undefined && lookup === undefined) return server;
  // `tls` tells the client to wait for the end of the handshake.
  return { ...server, ...(tls === undefined ? {} : { tls: {} }), Connector: connectorOf(server, tls, lookup) };
}

/** Connects as the client itself would, but asks `lookup` for the address: what was checked is what is dialled. */
function connectorOf(server: ServerAddress, tls: RedisLogin['tls'], lookup: LookupFunction | undefined) {
  const target = { ...server, ...(lookup === undefined ? {} : { lookup }) };
  const serverName = tls?.serverName ?? server.host;
  const secured = {
    ...target,
    ...(tls?.ca === undefined ? {} : { ca: tls.ca }),
    // An address must not be sent as the name of a server (RFC 6066); the certificate is checked against it all the
    // same.
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
  };
  return class OwnConnector extends AbstractConnector {
    constructor() {
      super(DISCONNECT_TIMEOUT_MS);
    }

    connect(): Promise<Socket> {
      this.connecting = true;
      const stream: Socket = tls === undefined ? connect(target) : connectTls(secured);
      stream.once('error', (error) => {
        this.firstError = error;
      });
      this.stream = stream;
      return Promise.resolve(stream);
    }
  };
}

function createCluster(addresses: readonly string[], redisOptions: ClientOptions): Cluster {
  return new Cluster(addresses.map(splitAddress), {
    redisOptions,
    lazyConnect: true,
    // Nodes are connected to when they are first needed: what waits for that longer than its deadline does nothing.
    enableOfflineQueue: true,
    clusterRetryStrategy: () => RECONNECT_MS,
    // A redirection was not executed and is followed; a lost connection may have been, and is told.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
  });
}

/** `host:port`, the host of an IPv6 address in brackets. */
function splitAddress(address: string): ServerAddress {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

/**
 * Calls a script, `EVALSHA` by its hash or `EVAL` by its text, with keys and one argument. As the client's own
 * `callBuffer`, which measures and writes each key by itself: for a hundred keys that takes longer than all else that
 * a caller does for a call.
 */
export function callScript(
  client: Redis | Cluster,
  name: 'EVALSHA' | 'EVAL',
  script: string,
  keys: readonly string[],
  argument: Buffer,
): Promise<unknown> {
  const command = new ScriptCall(name, [script, keys.length, ...keys, argument], { replyEncoding: null });
  return client.sendCommand(command) as Promise<unknown>;
}

/** A command whose last argument is bytes and whose others are texts. */
class ScriptCall extends Command {
  override toWritable(): Buffer {
    const texts = this.args.slice(0, -1).map(String);
    const bytes = this.args.at(-1) as Buffer;
    let head = `*${this.args.length + 1}\r\n$${this.name.length}\r\n${this.name}\r\n`;
    const begin = head;
    for (const text of texts) head += `$${text.length}\r\n${text}\r\n`;
    if (Buffer.byteLength(head) !== head.length) {
      // A text is longer in bytes than in characters.
      head = begin;
      for (const text of texts) head += `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
    }
    head += `$${bytes.length}\r\n`;
    const headLength = Buffer.byteLength(head);
    const all = Buffer.allocUnsafe(headLength + bytes.length + 2);
    all.write(head, 0, headLength);
    bytes.copy(all, headLength);
    all.write('\r\n', headLength + bytes.length, 'latin1');
    return all;
  }
}
