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

/** How a body came so far. */
export interface Pace {
  /** In pieces so short, and so many of them, that it is not worth reading. */
  readonly isShredded: boolean;
}

interface Counts {
  pieces: number;
  bytes: number;
}

const paced = new WeakMap<IncomingMessage, Pace>();

/**
 * Watches the pieces of a body from now on, also while it is read and dropped: it rests when others are due, and its
 * connection is cut when it goes on in shreds after somebody had the time to answer.
 */
export function pace(request: IncomingMessage): Pace {
  const known = paced.get(request);
  if (known !== undefined) return known;
  const counts: Counts = { pieces: 0, bytes: 0 };
  let left = BYTES_PER_TURN;
  request.on('data', (chunk: Buffer) => {
    counts.pieces += 1;
    counts.bytes += chunk.length;
    left -= chunk.length + PIECE_COST_BYTES;
    // What rests waits in memory, where a shred takes hundreds of bytes: shreds are read on, until they are too many.
    if (isShredded(counts, 0)) {
      if (isShredded(counts, 2 * FREE_PIECES)) request.destroy();
    } else if (left < 0) {
      left = BYTES_PER_TURN;
      rest(request);
    }
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
