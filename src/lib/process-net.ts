// Lib: the last net under a process that serves many. In: errors that nobody caught, as events of the process; out:
// a call for each. The process keeps running: an error in one request must not drop all others.

/**
 * Reports uncaught exceptions and unhandled rejections to `onError` from now on. Install it once the process serves:
 * an error before that must end it.
 * @param onError must not throw: that would end the process
 * @returns takes the net away
 */
export function catchUncaught(onError: (error: unknown) => void): () => void {
  process.on('uncaughtException', onError);
  process.on('unhandledRejection', onError);
  return () => {
    process.off('uncaughtException', onError);
    process.off('unhandledRejection', onError);
  };
}
