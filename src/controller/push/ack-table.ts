// Controller, status: what each limiter has in effect, as it said itself. In: connections, ACKs and NACKs; out: the
// states of a resource by limiter, the limiters there are, and (coalesced) the names whose states changed.
import { systemClock, type Clock } from '../../lib/clock.ts';
import { NO_TROUBLE, type LimiterReport } from '../../contract/limiter-report.ts';
import { canonicalJson } from '../../contract/snapshot.ts';
import { ChangeFeed, type ChangeListener } from './change-feed.ts';
import { coversNamespace, type LimiterView } from './visibility.ts';

/** A limiter that is connected, or was within the last minute. */
export interface LimiterState {
  /** Stable over restarts of the limiter. */
  readonly id: string;
  readonly view: LimiterView;
  /** A stream that was lost stays connected for a moment (1 s), so that a reconnect is not seen as a loss. */
  readonly connected: boolean;
  /** When its stream was lost, monotonic ms; absent while it is there. */
  readonly lostAtMs?: number;
  /** What it said last that it has trouble with; absent: it never said anything. */
  readonly report?: LimiterReport;
}

/** What one limiter says of one resource. */
export interface AckState {
  readonly limiter: LimiterState;
  /** The version in effect there: it was acknowledged, or the limiter brought it along when it connected. */
  readonly ackedVersion?: string;
  /** Its last refusal; it counts only while `version` is still the one wanted. */
  readonly rejected?: { readonly version: string; readonly message: string };
  readonly sentVersion?: string;
}

/** There is one for each resource of each limiter: versions alone, which are the strings of the snapshot store. */
interface Entry {
  acked: string | undefined;
  sent: string | undefined;
  rejected: { readonly version: string; readonly message: string } | undefined;
}

interface Row {
  readonly id: string;
  view: LimiterView;
  connected: boolean;
  lostAtMs?: number;
  readonly entries: Map<string, Entry>;
  timer?: NodeJS.Timeout;
  report?: LimiterReport;
  /** Ends a report of the stream before this one. */
  reportTimer?: NodeJS.Timeout;
}

/** What a limiter's report says else than the one before. */
export interface ReportChange {
  readonly view: LimiterView;
  /** Ids of stores whose trouble began, changed or ended. */
  readonly stores: ReadonlySet<string>;
  /** Resource names of objects whose upstreams' did, and of those of a sidecar whose unclaimed models changed. */
  readonly objects: ReadonlySet<string>;
}

/** One stream of a limiter: what it reports goes into the table until another stream of the same limiter takes over. */
export interface AckStream {
  /** The pod's labels changed. */
  setView(view: LimiterView): void;
  sent(name: string, version: string): void;
  acked(name: string, version: string): void;
  rejected(name: string, version: string, message: string): void;
  /** What the limiter has trouble with. */
  reported(report: LimiterReport): void;
  /** The limiter dropped the resource. */
  removed(name: string): void;
  /** goodbye: the limiter said that it leaves; it is forgotten at once. lost: it stays "seen" for a minute. */
  end(how: 'goodbye' | 'lost'): void;
}

export interface AckTableSettings {
  /** How long a lost limiter counts as seen, ms. */
  readonly seenForMs?: number;
  /** How long a lost stream may take to come back before it counts as lost, ms. */
  readonly lostAfterMs?: number;
  /** How long a limiter that came back may take to report before what it said on its former stream is forgotten, ms. */
  readonly reportWithinMs?: number;
  readonly clock?: Clock;
}

/**
 * The one truth about what is in effect. Nothing is acknowledged here because it was sent. `namesSeenBy` tells which
 * resources a limiter is to have: a limiter that comes or goes changes the state of all of them.
 */
export class AckTable {
  readonly #rows = new Map<string, Row>();
  readonly #shared = new Set<Row>();
  /** Resource name -> the pod limiters that hold, rejected or were sent it. */
  readonly #podsByName = new Map<string, Set<Row>>();
  readonly #changes = new ChangeFeed();
  readonly #fleetListeners = new Set<() => void>();
  readonly #reportListeners = new Set<(change: ReportChange) => void>();
  readonly #namesSeenBy: (view: LimiterView) => Iterable<string>;
  readonly #settings: Required<AckTableSettings>;

  constructor(namesSeenBy: (view: LimiterView) => Iterable<string>, settings: AckTableSettings = {}) {
    this.#namesSeenBy = namesSeenBy;
    this.#settings = { seenForMs: 60_000, lostAfterMs: 1_000, reportWithinMs: 10_000, clock: systemClock, ...settings };
  }

  /**
   * A limiter has connected and brought `held` along (name -> version in effect). A former stream of the same id is
   * replaced: what it reports from now on is ignored.
   */
  connect(id: string, view: LimiterView, held: ReadonlyMap<string, string>): AckStream {
    const before = this.#rows.get(id);
    if (before !== undefined) this.#drop(before);
    const row: Row = { id, view, connected: true, entries: new Map() };
    this.#rows.set(id, row);
    this.#inherit(row, before?.report);
    if (view.kind === 'shared') this.#shared.add(row);
    for (const [name, version] of held) this.#entry(row, name).acked = version;
    this.#changes.announce(before?.connected === true ? changedNames(before, row) : this.#affectedBy(row));
    this.#tellFleet();
    return this.#stream(row);
  }

  /**
   * What the limiters say of a resource: every shared limiter of its namespace (also those that said nothing yet),
   * and the sidecars that hold, refused or were sent it.
   */
  statesOf(name: string): AckState[] {
    const namespace = name.split('/')[1] ?? '';
    const isForAll = namespace === '-';
    const shared = [...this.#shared].filter((row) => isForAll || coversNamespace(row.view, namespace));
    return [...shared, ...(this.#podsByName.get(name) ?? [])].map((row) => toState(row, row.entries.get(name)));
  }

  /** UIDs of the pods whose sidecars hold, refused or were sent a resource. */
  podsOf(name: string): string[] {
    return [...(this.#podsByName.get(name) ?? [])].map(({ view }) => view.pod?.uid ?? '');
  }

  /** All limiters that are connected or were within the last minute. */
  limiters(): LimiterState[] {
    return [...this.#rows.values()].map(toLimiterState);
  }

  /** Connected limiters, and those seen within the last minute. */
  count(): { connected: number; known: number } {
    let connected = 0;
    for (const row of this.#rows.values()) connected += row.connected ? 1 : 0;
    return { connected, known: this.#rows.size };
  }

  /**
   * Calls `listener` with the names of the resources whose states changed. @returns a function that ends the
   * subscription.
   */
  subscribe(listener: ChangeListener): () => void {
    return this.#changes.subscribe(listener);
  }

  /**
   * Calls `listener` whenever a limiter comes, is lost or is forgotten. @returns a function that ends the
   * subscription.
   */
  subscribeFleet(listener: () => void): () => void {
    this.#fleetListeners.add(listener);
    return () => this.#fleetListeners.delete(listener);
  }

  /**
   * Calls `listener` when a limiter's trouble began, changed or ended. @returns a function that ends the
   * subscription.
   */
  subscribeReports(listener: (change: ReportChange) => void): () => void {
    this.#reportListeners.add(listener);
    return () => this.#reportListeners.delete(listener);
  }

  /** What it said on its former stream holds until it says something, or had the time to. */
  #inherit(row: Row, report: LimiterReport | undefined): void {
    if (report === undefined) return;
    row.report = report;
    row.reportTimer = setTimeout(() => {
      this.#report(row, NO_TROUBLE);
    }, this.#settings.reportWithinMs).unref();
  }

  #report(row: Row, report: LimiterReport): void {
    clearTimeout(row.reportTimer);
    const before = row.report ?? NO_TROUBLE;
    row.report = report;
    const stores = new Set(changedKeys(before.stores, report.stores, ({ store }) => store));
    const objects = new Set(changedKeys(before.upstreams, report.upstreams, ({ object }) => object));
    if (canonicalJson(before.unclaimed ?? []) !== canonicalJson(report.unclaimed ?? [])) {
      for (const name of row.entries.keys()) objects.add(name);
    }
    if (stores.size + objects.size === 0) return;
    for (const listener of this.#reportListeners) listener({ view: row.view, stores, objects });
  }

  #stream(row: Row): AckStream {
    const isCurrent = (): boolean => this.#rows.get(row.id) === row && row.lostAtMs === undefined;
    const change = (name: string, edit: (entry: Entry) => void): void => {
      if (!isCurrent()) return;
      edit(this.#entry(row, name));
      this.#changes.announce([name]);
    };
    return {
      setView: (view) => {
        row.view = view;
      },
      sent: (name, version) => {
        change(name, (entry) => (entry.sent = version));
      },
      acked: (name, version) => {
        change(name, (entry) => {
          entry.acked = version;
          entry.rejected = undefined;
        });
      },
      rejected: (name, version, message) => {
        change(name, (entry) => (entry.rejected = { version, message }));
      },
      reported: (report) => {
        if (isCurrent()) this.#report(row, report);
      },
      removed: (name) => {
        if (!isCurrent()) return;
        this.#forget(row, name);
        this.#changes.announce([name]);
      },
      end: (how) => {
        if (!isCurrent()) return;
        if (how === 'goodbye') this.#leave(row);
        else this.#lose(row);
      },
    };
  }

  #lose(row: Row): void {
    const { clock, lostAfterMs, seenForMs } = this.#settings;
    row.lostAtMs = clock.monotonicMs();
    const wait = (ms: number, then: () => void): void => {
      row.timer = setTimeout(then, ms).unref();
    };
    wait(lostAfterMs, () => {
      row.connected = false;
      this.#changes.announce(this.#affectedBy(row));
      this.#tellFleet();
      wait(Math.max(0, seenForMs - lostAfterMs), () => {
        this.#leave(row);
      });
    });
  }

  #leave(row: Row): void {
    const affected = this.#affectedBy(row);
    this.#drop(row);
    this.#changes.announce(affected);
    this.#tellFleet();
  }

  #drop(row: Row): void {
    clearTimeout(row.timer);
    clearTimeout(row.reportTimer);
    this.#rows.delete(row.id);
    this.#shared.delete(row);
    if (row.view.kind === 'pod') for (const name of row.entries.keys()) this.#unlist(row, name);
  }

  #entry(row: Row, name: string): Entry {
    let entry = row.entries.get(name);
    if (entry === undefined) {
      entry = { acked: undefined, sent: undefined, rejected: undefined };
      row.entries.set(name, entry);
      if (row.view.kind === 'pod') {
        this.#podsByName.set(name, (this.#podsByName.get(name) ?? new Set<Row>()).add(row));
      }
    }
    return entry;
  }

  #forget(row: Row, name: string): void {
    row.entries.delete(name);
    this.#unlist(row, name);
  }

  #unlist(row: Row, name: string): void {
    const rows = this.#podsByName.get(name);
    rows?.delete(row);
    if (rows?.size === 0) this.#podsByName.delete(name);
  }

  #affectedBy(row: Row): Set<string> {
    return new Set([...row.entries.keys(), ...this.#namesSeenBy(row.view)]);
  }

  #tellFleet(): void {
    for (const listener of this.#fleetListeners) listener();
  }
}

/** The keys whose entries are not the same in both lists. */
function changedKeys<T>(before: readonly T[], now: readonly T[], keyOf: (entry: T) => string): string[] {
  const texts = (list: readonly T[]): Map<string, string> => {
    const byKey = new Map<string, string>();
    for (const entry of list) byKey.set(keyOf(entry), `${byKey.get(keyOf(entry)) ?? ''}${JSON.stringify(entry)}`);
    return byKey;
  };
  const [then, since] = [texts(before), texts(now)];
  return [...new Set([...then.keys(), ...since.keys()])].filter((key) => then.get(key) !== since.get(key));
}

function changedNames(before: Row, now: Row): Set<string> {
  const names = new Set([...before.entries.keys(), ...now.entries.keys()]);
  for (const name of names) {
    const [then, since] = [before.entries.get(name), now.entries.get(name)];
    if (then?.rejected === undefined && then?.acked === since?.acked) names.delete(name);
  }
  return names;
}

function toLimiterState(row: Row): LimiterState {
  const { id, view, connected, lostAtMs, report } = row;
  return {
    id,
    view,
    connected,
    ...(lostAtMs === undefined ? {} : { lostAtMs }),
    ...(report === undefined ? {} : { report }),
  };
}

function toState(row: Row, { acked, rejected, sent }: Partial<Entry> = {}): AckState {
  return {
    limiter: toLimiterState(row),
    ...(acked === undefined ? {} : { ackedVersion: acked }),
    ...(rejected === undefined ? {} : { rejected }),
    ...(sent === undefined ? {} : { sentVersion: sent }),
  };
}
