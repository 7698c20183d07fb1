// CLI: the flags of the default Redis of `weir operator`. Input: text. Output: settings, or what is wrong with them
// together.
import type { Command } from 'commander';
import type { DefaultRedisSettings } from '../../controller/credentials/default-redis.ts';
import { flag, listOf, parseHost, parseHostPort, parseNamespace } from './flags.ts';

export interface DefaultRedisFlags {
  readonly defaultRedis?: string;
  readonly defaultRedisUsername?: string;
  readonly defaultRedisPasswordFile?: string;
  readonly defaultRedisPasswordSecret?: string;
  readonly defaultRedisCaFile?: string;
  readonly defaultRedisServerName?: string;
  readonly defaultRedisNamespaces: readonly string[];
  readonly defaultRedisAcl: boolean;
  readonly redisAclSecret: string;
}

export function withDefaultRedisFlags(command: Command): Command {
  command
    .addOption(
      flag('--default-redis <host:port>', 'WEIR_DEFAULT_REDIS', 'Redis of objects that name none').argParser(
        parseHostPort,
      ),
    )
    .addOption(
      flag('--default-redis-username <name>', 'WEIR_DEFAULT_REDIS_USERNAME', 'its user (default: the default one)'),
    )
    .addOption(
      flag(
        '--default-redis-password-file <file>',
        'WEIR_DEFAULT_REDIS_PASSWORD_FILE',
        'its password; read again when it changes',
      ),
    )
    .addOption(
      flag(
        '--default-redis-password-secret <name>',
        'WEIR_DEFAULT_REDIS_PASSWORD_SECRET',
        'Secret of the own namespace with its password; created with a random one when it is missing',
      ).argParser(parseHost),
    )
    .addOption(
      flag(
        '--default-redis-ca-file <file>',
        'WEIR_DEFAULT_REDIS_CA_FILE',
        'speak TLS to it, trusting these certificates (PEM)',
      ),
    )
    .addOption(
      flag(
        '--default-redis-server-name <name>',
        'WEIR_DEFAULT_REDIS_SERVER_NAME',
        'speak TLS to it: the name in its certificate',
      ) //
        .argParser(parseHost),
    );
  return withTenantFlags(command);
}

function withTenantFlags(command: Command): Command {
  return command
    .addOption(
      flag(
        '--default-redis-namespaces <names>',
        'WEIR_DEFAULT_REDIS_NAMESPACES',
        'whose sidecars are given its password',
      )
        .default([], 'none: shared limiters alone')
        .argParser(listOf(parseNamespace)),
    )
    .addOption(
      flag(
        '--default-redis-acl',
        'WEIR_DEFAULT_REDIS_ACL',
        'make a user for each namespace there, confined to its keys',
      ).default(false),
    )
    .addOption(
      flag(
        '--redis-acl-secret <name>',
        'WEIR_REDIS_ACL_SECRET',
        'Secret of the own namespace that keeps the key of their passwords',
      ) //
        .default('weir-redis-acl'),
    );
}

/** What is wrong with the flags together; undefined: nothing. */
export function complaintAboutRedis(flags: DefaultRedisFlags): string | undefined {
  const { defaultRedis, defaultRedisPasswordFile: file, defaultRedisPasswordSecret: secret } = flags;
  const given = Object.entries(flags).find(([name, value]) => /^defaultRedis./.test(name) && isGiven(value));
  if (defaultRedis === undefined && given !== undefined) return `${dashed(given[0])} needs --default-redis`;
  if (file !== undefined && secret !== undefined) {
    return '--default-redis-password-file and --default-redis-password-secret: give one of them';
  }
  return flags.defaultRedisAcl ? complaintAboutUsers(flags, file ?? secret) : undefined;
}

function complaintAboutUsers({ defaultRedisNamespaces }: DefaultRedisFlags, password?: string): string | undefined {
  if (password === undefined) {
    return '--default-redis-acl needs --default-redis-password-file or --default-redis-password-secret: the password of a user that may create users';
  }
  if (defaultRedisNamespaces.length > 0) {
    return '--default-redis-namespaces cannot be combined with --default-redis-acl, which gives every namespace a user of its own';
  }
  return undefined;
}

/** Undefined: there is no default Redis. */
export function defaultRedisOf(flags: DefaultRedisFlags): DefaultRedisSettings | undefined {
  if (flags.defaultRedis === undefined) return undefined;
  return {
    address: flags.defaultRedis,
    username: flags.defaultRedisUsername,
    passwordFile: flags.defaultRedisPasswordFile,
    passwordSecret: flags.defaultRedisPasswordSecret,
    caFile: flags.defaultRedisCaFile,
    serverName: flags.defaultRedisServerName,
    namespaces: flags.defaultRedisNamespaces,
    acl: flags.defaultRedisAcl,
  };
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
}

function dashed(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
