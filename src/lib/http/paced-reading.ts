// Lib, HTTP servers: a body is read at a pace. In: a request whose body is read, or read and dropped; out: no
// turn of the event loop that many bytes, or many pieces, of bodies make long; and no body in pieces of a few bytes,
// which cost a thousand times theirs.
import type { IncomingMessage } from 'node:http';
import { nextTurn } from '../turns.ts';

/** What of one body is taken before others have their turn: about a ms of work. */
const BYTES_PER_TURN = 256 * 1024;
/** A piece is work as well, however short. */
const PIECE_COST_BYTES = 512;
/** So many pieces may be as short as they like; then a body has to bring more with each of them. */
const FREE_PIECES = 1024;
const MIN_BYTES_PER_PIECE = 16;
/** What is gathered of a chunked body, or was handed on and is not read yet, before its connection has to wait. */
const GATHERED_BYTES = 64 * 1024;
const GATHERED_PIECES = 1024;

/** How a body came so far. */
export interface Pace {
  /** In pieces so short, and so many of them, that it is not worth reading. */
  readonly isShredded: boolean;
}

interface Counts {
  pieces: number;
  bytes: number;
}

const gathered = new WeakMap<IncomingMessage, Counts>();
const paced = new WeakMap<IncomingMessage, Pace>();

/**
 * Has the chunks of a body handed on together, once in a turn of the event loop: node hands on each of them, and 64 KiB
 * hold 11,000 of a byte. To be called when the head was read.
 */
export function gather(request: IncomingMessage): void {
  if (request.headers['transfer-encoding'] === undefined) return;
  const counts: Counts = { pieces: 0, bytes: 0 };
  gathered.set(request, counts);
  const push = request.push.bind(request);
  let pieces: Buffer[] = [];
  let bytes = 0;
  const handOn = (): void => {
    if (pieces.length === 0) return;
    const all = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, bytes);
    [pieces, bytes] = [[], 0];
    push(all);
  };
  request.push = (chunk: Buffer | null): boolean => {
    if (chunk === null) {
      handOn();
      return push(null);
    }
    counts.pieces += 1;
    counts.bytes += chunk.length;
    if (pieces.length === 0) setImmediate(handOn);
    pieces.push(chunk);
    bytes += chunk.length;
    return pieces.length < GATHERED_PIECES && bytes + request.readableLength < GATHERED_BYTES;
  };
}

/**
 * Watches the pieces of a body from now on, also while it is read and dropped: it rests when others are due, and its
 * connection is cut when it goes on in shreds after somebody had the time to answer.
 */
export function pace(request: IncomingMessage): Pace {
  const known = paced.get(request);
  if (known !== undefined) return known;
  const chunks = gathered.get(request);
  const counts: Counts = chunks ?? { pieces: 0, bytes: 0 };
  const cost = (): number => counts.bytes + counts.pieces * PIECE_COST_BYTES;
  let rested = cost();
  let wasShredded = false;
  request.on('data', (chunk: Buffer) => {
    if (chunks === undefined) {
      counts.pieces += 1;
      counts.bytes += chunk.length;
    }
    if (wasShredded && isShredded(counts, 2 * FREE_PIECES)) request.destroy();
    wasShredded = isShredded(counts, FREE_PIECES);
    if (cost() - rested <= BYTES_PER_TURN) return;
    rested = cost();
    rest(request);
  });
  const state: Pace = {
    get isShredded() {
      return isShredded(counts, FREE_PIECES);
    },
  };
  paced.set(request, state);
  return state;
}

function isShredded({ pieces, bytes }: Counts, free: number): boolean {
  return pieces > free && bytes < pieces * MIN_BYTES_PER_PIECE;
}

function rest(request: IncomingMessage): void {
  request.pause();
  void nextTurn().then(() => {
    request.resume();
  });
}
