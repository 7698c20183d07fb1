// Contract: the one table of what a Redis server answers when it cannot serve. In: the text of an error reply; out:
// what the limiter does about it, and the advice that the status gives. docs/failure.md prints this table; a test
// holds the two together.

/**
 * redial: a new connection with a fresh look-up, with back-off. reload: send the script again. wait: the connection
 * is good, ask again. retry: the same, it may pass at once. login: the credentials or their rights are not enough:
 * log in again, with back-off. refuse: nothing that the limiter can do. After one answer of redial or wait an outage
 * begins, after three in a row of the others (never of reload): failurePolicy decides until a write succeeds.
 */
export type Remedy = 'redial' | 'reload' | 'wait' | 'retry' | 'login' | 'refuse';

export interface StoreWord {
  /** As docs/failure.md names it. */
  readonly word: string;
  readonly matches: RegExp;
  readonly remedy: Remedy;
  /** For people: what to do at the server. */
  readonly advice: string;
}

const REPLICA = 'the address is that of a replica: point it at the master, or finish the failover';

/** The first row that matches applies. */
export const STORE_WORDS: readonly StoreWord[] = [
  row('READONLY', 'redial', REPLICA),
  row('MASTERDOWN', 'redial', REPLICA),
  row('REDIRECT', 'redial', REPLICA),
  row('NOREPLICAS', 'redial', 'restore its replicas, or lower min-replicas-to-write'),
  row('NOSCRIPT', 'reload', 'nothing: the limiter sends the script again'),
  row('LOADING', 'wait', 'wait until Redis has loaded its data'),
  row('OOM', 'wait', 'the memory of Redis is full: raise maxmemory'),
  row('MISCONF', 'wait', 'Redis cannot write to its disk: see its log, and free space'),
  row('BUSY', 'wait', 'a script of another client blocks Redis: stop it with SCRIPT KILL'),
  row('CLUSTERDOWN', 'wait', 'make the cluster serve all hash slots'),
  row('TRYAGAIN', 'retry', 'wait until the slots have moved'),
  row('script killed', 'retry', 'do not let other clients call SCRIPT KILL', /script killed by user/i),
  row('WRONGPASS', 'login', 'correct username and password'),
  row('NOAUTH', 'login', 'set the password: passwordSecretRef'),
  row(
    'NOPERM',
    'login',
    'give the ACL user the rights that docs/failure.md lists',
    /(^|: -)NOPERM\b|The user executing the script can't/,
  ),
  row('max number of clients', 'redial', 'raise maxclients', /max number of clients reached/i),
  row('MOVED', 'refuse', 'this server is part of a Redis Cluster: use a single Redis'),
  row(
    'unknown command',
    'refuse',
    'use Redis 7.0 or later, or Valkey, with EVALSHA and SCRIPT allowed',
    /unknown command/i,
  ),
];

function row(word: string, remedy: Remedy, advice: string, matches = new RegExp(`(^|: -)${word}\\b`)): StoreWord {
  return { word, matches, remedy, advice };
}

/** The row of an error reply; undefined for a text that is none of them. */
export function storeWordOf(text: string): StoreWord | undefined {
  return STORE_WORDS.find(({ matches }) => matches.test(text));
}
