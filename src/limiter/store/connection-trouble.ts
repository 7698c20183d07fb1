// Limiter, store: why a connection does not serve. In: answers of the server, errors of the network, silence, proofs
// that it serves; out: one text for people, what to do, and how many attempts in a row the server has turned away.
import type { Remedy } from '../../contract/store-words.ts';
import type { Logger } from '../../lib/log.ts';
import { errorCode } from '../../lib/thrown.ts';
import { serverAnswerOf } from './server-answer.ts';
import { StoreUnavailable } from './store.ts';

export interface ConnectionTroubleOptions {
  /** Address and user. */
  readonly label: string;
  /** Never shown: passwords that are sent to the server. */
  readonly secrets: readonly string[];
  readonly log: Logger;
  readonly onCredentials?: ((endpoint: string, state: 'refused' | 'accepted') => void) | undefined;
}

export class ConnectionTrouble {
  readonly #options: ConnectionTroubleOptions;
  #text = '';
  #rejections = 0;
  #areCredentialsRefused = false;

  constructor(options: ConnectionTroubleOptions) {
    this.#options = options;
  }

  /** The last words of the server or the network since it served last; '' when there were none. */
  get text(): string {
    return this.#text;
  }

  get areCredentialsRefused(): boolean {
    return this.#areCredentialsRefused;
  }

  /** Attempts in a row that the server turned away: the pause before the next one grows with them. */
  get rejections(): number {
    return this.#rejections;
  }

  /** A call has failed. @returns what to do; undefined: no answer of the server, or one that is not in the table. */
  callFailed(error: unknown): Remedy | undefined {
    if (error instanceof StoreUnavailable && error.reason === 'timeout') this.#text = 'no answer in time';
    const answer = serverAnswerOf(error, this.#options.secrets);
    if (answer === undefined) return undefined;
    this.#text = answer.text;
    if (answer.remedy === 'login') this.#credentialsRefused();
    return answer.remedy;
  }

  /** The connection has failed, or a login on it. */
  connectionFailed(error: unknown): Remedy | undefined {
    const remedy = this.callFailed(error);
    const code = errorCode(error);
    if (remedy === undefined && code !== undefined) this.#text = code;
    return remedy;
  }

  /** The server has turned this connection away: the next one comes later. */
  rejected(): void {
    this.#rejections++;
  }

  /** A write has succeeded. */
  proven(): void {
    const { log, label, onCredentials } = this.#options;
    this.#text = '';
    this.#rejections = 0;
    if (!this.#areCredentialsRefused) return;
    this.#areCredentialsRefused = false;
    log.info('store accepts the credentials', { endpoint: label });
    onCredentials?.(label, 'accepted');
  }

  /** Logs the begin of a refusal once. */
  #credentialsRefused(): void {
    this.#rejections++;
    if (this.#areCredentialsRefused) return;
    this.#areCredentialsRefused = true;
    const { log, label, onCredentials } = this.#options;
    log.warn('store refuses the credentials', { endpoint: label, answer: this.#text });
    onCredentials?.(label, 'refused');
  }
}
