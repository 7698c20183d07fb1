// Controller, push: one stream to one limiter, without the wire. In: changed names, ACKs and NACKs; out: at most one
// response in flight, built from the newest state when the former one was answered, and rows of the ack table.
import { isSharersName } from '../../contract/limiter-config.ts';
import {
  LIMITER_CONFIG_TYPE_URL,
  MAX_REJECTION_TEXT,
  PARTIAL_RESPONSE,
  parseRejections,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type WireResource,
} from '../../contract/push-protocol.ts';
import { fromReportRequest, isReport } from '../../contract/limiter-report.ts';
import { systemClock, type Clock } from '../../lib/clock.ts';
import type { AckStream } from './ack-table.ts';
import { PendingNames } from './pending-names.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import type { LimiterView } from './visibility.ts';

/** What a session tells of its work, for metrics. */
export interface PushObserver {
  /** A limiter has acknowledged a version `latencyMs` after it was set (or after it connected, if that was later). */
  acked?(latencyMs: number): void;
  /** A limiter refused `count` resources. */
  nacked?(count: number): void;
  /** A limiter told what it has trouble with. */
  reported?(): void;
  /** A response with `resources` resources and `removed` removals went out. */
  sent?(resources: number, removed: number): void;
}

export interface PushSessionParts {
  readonly store: SnapshotStore;
  readonly acks: AckStream;
  readonly send: (response: DeltaDiscoveryResponse) => void;
  /** A response is closed when it has grown beyond this many bytes; a larger resource goes alone. */
  readonly maxResponseBytes: number;
  /** false: the limiter does not know Sharers resources and is sent none. Default: true. */
  readonly takesSharers?: boolean;
  readonly observer?: PushObserver;
  readonly clock?: Clock;
}

interface Flight {
  readonly nonce: string;
  /** Name -> the version sent; undefined: its removal. */
  readonly sent: ReadonlyMap<string, string | undefined>;
}

type Change =
  { readonly kind: 'set'; readonly wire: WireResource; readonly bytes: number } | { readonly kind: 'remove' };

/**
 * What waits is names, never payloads: a limiter that does not answer costs the operator one name per changed object.
 */
export class PushSession {
  readonly #parts: PushSessionParts;
  readonly #clock: Clock;
  readonly #startedAtMs: number;
  #view: LimiterView;
  /** What the limiter has in effect. */
  readonly #held: Map<string, string>;
  /** What it refused on this stream: never sent again on it. */
  readonly #refused = new Map<string, string>();
  readonly #pending: PendingNames;
  #flight: Flight | undefined;
  #responses = 0;
  #owesWhole = true;

  /** `held`: what the limiter has in effect already (`initial_resource_versions`): only what differs is sent. */
  constructor(view: LimiterView, held: ReadonlyMap<string, string>, parts: PushSessionParts) {
    this.#view = view;
    this.#held = new Map(held);
    this.#parts = parts;
    this.#clock = parts.clock ?? systemClock;
    this.#startedAtMs = this.#clock.monotonicMs();
    this.#pending = new PendingNames([...held.keys(), ...parts.store.namesSeenBy(view)]);
  }

  /** Sends the first response, empty if nothing differs: then the limiter knows that it has everything. */
  start(): void {
    this.#flush();
  }

  /** These names may have changed; what this limiter does not see costs it nothing. */
  offer(names: Iterable<string>): void {
    for (const name of names) if (this.#changeOf(name) !== undefined) this.#pending.add(name);
    this.#flush();
  }

  /** The limiter's pod has other labels now. */
  changeView(view: LimiterView): void {
    this.#view = view;
    this.#parts.acks.setView(view);
    const told = [...this.#held.keys(), ...this.#refused.keys(), ...(this.#flight?.sent.keys() ?? [])];
    this.offer(new Set([...told, ...this.#parts.store.namesSeenBy(view)]));
  }

  /** Takes a report, an ACK or a NACK; an answer to another nonce than that in flight says nothing. */
  answer(request: DeltaDiscoveryRequest): void {
    if (isReport(request)) this.#takeReport(request);
    else this.#takeAnswer(request);
  }

  #takeReport(request: DeltaDiscoveryRequest): void {
    const report = fromReportRequest(request);
    if (report === undefined) return;
    this.#parts.observer?.reported?.();
    this.#parts.acks.reported(report);
  }

  #takeAnswer(request: DeltaDiscoveryRequest): void {
    const flight = this.#flight;
    if (flight === undefined || request.response_nonce !== flight.nonce) return;
    this.#flight = undefined;
    const refusals = request.error_detail
      ? refusalsOf(flight, request.error_detail.message ?? '')
      : new Map<string, string>();
    for (const [name, version] of flight.sent) this.#record(name, version, refusals.get(name));
    if (refusals.size > 0) this.#parts.observer?.nacked?.(refusals.size);
    this.#flush();
  }

  #record(name: string, version: string | undefined, refusal: string | undefined): void {
    const { observer, store } = this.#parts;
    const acks = this.#acksOf(name);
    if (version === undefined) {
      this.#held.delete(name);
      this.#refused.delete(name);
      acks?.removed(name);
    } else if (refusal !== undefined) {
      this.#refused.set(name, version);
      acks?.rejected(name, version, refusal);
    } else {
      this.#held.set(name, version);
      this.#refused.delete(name);
      acks?.acked(name, version);
      const stored = store.get(name);
      if (stored?.resource.version === version) {
        observer?.acked?.(this.#clock.monotonicMs() - Math.max(stored.setAtMs, this.#startedAtMs));
      }
    }
  }

  /** Sharers appear in no status: the ack table has no entries of them. */
  #acksOf(name: string): AckStream | undefined {
    return isSharersName(name) ? undefined : this.#parts.acks;
  }

  #isSeen(name: string): boolean {
    const { store, takesSharers = true } = this.#parts;
    return store.isSeenBy(this.#view, name) && (takesSharers || !isSharersName(name));
  }

  #changeOf(name: string): Change | undefined {
    const { store } = this.#parts;
    const stored = store.get(name);
    if (stored === undefined || !this.#isSeen(name)) {
      const mayHaveIt = this.#held.has(name) || this.#refused.has(name) || this.#isInFlight(name);
      // What this operator does not watch may well exist: the limiter keeps it.
      return mayHaveIt && store.isWatched(name) ? { kind: 'remove' } : undefined;
    }
    const { version } = stored.resource;
    if (this.#held.get(name) === version && !this.#isInFlight(name)) return undefined;
    if (this.#refused.get(name) === version) return undefined;
    return { kind: 'set', wire: stored.wire, bytes: stored.wireBytes };
  }

  #isInFlight(name: string): boolean {
    return this.#flight?.sent.has(name) ?? false;
  }

  #flush(): void {
    if (this.#flight !== undefined) return;
    const { resources, removed } = this.#take();
    if (resources.length === 0 && removed.length === 0 && !this.#owesWhole) return;
    this.#owesWhole = this.#pending.size > 0;
    this.#responses += 1;
    const nonce = String(this.#responses);
    this.#noteFlight(nonce, resources, removed);
    this.#parts.observer?.sent?.(resources.length, removed.length);
    this.#parts.send({
      system_version_info: this.#owesWhole ? PARTIAL_RESPONSE : '',
      type_url: LIMITER_CONFIG_TYPE_URL,
      nonce,
      resources,
      removed_resources: removed,
    });
  }

  #noteFlight(nonce: string, resources: readonly WireResource[], removed: readonly string[]): void {
    const sent = new Map<string, string | undefined>(resources.map(({ name, version }) => [name, version]));
    for (const name of removed) sent.set(name, undefined);
    this.#flight = { nonce, sent };
    for (const { name, version } of resources) this.#acksOf(name)?.sent(name, version);
  }

  /** Takes from the pending names what fits into one response, at least one resource. */
  #take(): { resources: WireResource[]; removed: string[] } {
    const resources: WireResource[] = [];
    const removed: string[] = [];
    let bytes = 0;
    for (const name of this.#pending.inOrder()) {
      const change = this.#changeOf(name);
      const size = change?.kind === 'set' ? change.bytes : name.length + 8;
      if (bytes > 0 && bytes + size > this.#parts.maxResponseBytes) break;
      this.#pending.delete(name);
      if (change === undefined) continue;
      bytes += size;
      if (change.kind === 'set') resources.push(change.wire);
      else removed.push(name);
    }
    return { resources, removed };
  }
}

/** Name -> the limiter's words. Details that cannot be read, or name nothing that was sent, refuse everything sent. */
function refusalsOf(flight: Flight, text: string): Map<string, string> {
  const named = (parseRejections(text) ?? []).filter(({ name, version }) => flight.sent.get(name) === version);
  if (named.length > 0) return new Map(named.map(({ name, message }) => [name, message]));
  const message = text.slice(0, MAX_REJECTION_TEXT) || 'rejected without a reason';
  return new Map([...flight.sent.keys()].map((name) => [name, message]));
}
