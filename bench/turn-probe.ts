// Benchmarks, loaded into a limiter: answers each message with the longest turn of its event loop since the last one,
// as the clock sees it (which goes on while the process waits for a core) and in CPU time of its thread.
const EVERY_MS = 1;

let longest = { wallMs: 0, cpuMs: 0 };
let last = { wallMs: performance.now(), cpuMs: cpuMs() };

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

setInterval(() => {
  const now = { wallMs: performance.now(), cpuMs: cpuMs() };
  longest = {
    wallMs: Math.max(longest.wallMs, now.wallMs - last.wallMs - EVERY_MS),
    cpuMs: Math.max(longest.cpuMs, now.cpuMs - last.cpuMs),
  };
  last = now;
}, EVERY_MS).unref();

process.on('message', () => {
  process.send?.(longest);
  longest = { wallMs: 0, cpuMs: 0 };
});
process.channel?.unref();
