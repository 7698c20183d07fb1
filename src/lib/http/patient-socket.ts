// Lib: a TCP connection on which a failed write does not cost what the other side has already sent. In: as
// net.Socket; out: the same, except that after a failed write everything more is dropped, and reading goes on to its
// own end.
import { Socket, type NetConnectOpts } from 'node:net';

type Done = (error?: Error | null) => void;
type Chunks = { chunk: unknown; encoding: BufferEncoding }[];

/**
 * A server may answer early, and close, while its client still sends. The next write then fails, and node destroys
 * the socket although the answer waits in it unread. Here the reader comes to the answer, and then to the end or the
 * reset.
 */
export class PatientSocket extends Socket {
  #hasFailed = false;

  /** Connects as `net.connect` does. */
  static connect(options: NetConnectOpts): PatientSocket {
    // The constructor is where noDelay and allowHalfOpen count.
    const socket = new PatientSocket(options);
    if (options.timeout !== undefined) socket.setTimeout(options.timeout);
    return socket.connect(options);
  }

  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    if (this.#hasFailed) done();
    else super._write(chunk, encoding, this.#forgiving(done));
  }

  override _writev(chunks: Chunks, done: Done): void {
    if (this.#hasFailed) done();
    else super._writev?.(chunks, this.#forgiving(done));
  }

  override _final(done: Done): void {
    if (this.#hasFailed) done();
    else super._final(this.#forgiving(done));
  }

  /** Nothing more can go out: once nothing more comes in, the connection is over. */
  #giveUpWriting(): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    if (this.readableEnded) this.destroy();
    else this.once('end', () => this.destroy());
  }

  /** Connecting failed: there is nothing to read, and the error is that of the connection. */
  #forgiving(done: Done): Done {
    return (error) => {
      if (error == null || this.connecting || this.destroyed) {
        done(error);
        return;
      }
      this.#giveUpWriting();
      done();
    };
  }
}
