// On a real node, processes: the machine that runs the tests is the node. In: a pod and a word of the command line;
// out: the ids of its processes, to be killed and paused as a machine in trouble would.
import { readdir, readFile, writeFile } from 'node:fs/promises';

/** Processes of the pod (by the UID in their cgroup) whose command line has the word as one argument. */
export async function processesOf(podUid: string, word: string): Promise<number[]> {
  if (podUid === '') throw new Error('no such pod');
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(ids.map(async (id) => ((await isOfPod(id, podUid, word)) ? [Number(id)] : [])));
  return found.flat();
}

/**
 * Takes memory from the container of the process, down to what the kernel cannot take back: with the next use of more
 * it is killed.
 */
export async function takeMemory(pid: number): Promise<void> {
  try {
    const { limit, usage } = await memoryFiles(pid);
    for (let bytes = Number(await readFile(usage, 'utf8')); bytes > 0; bytes = Math.floor(bytes * 0.95)) {
      await writeFile(limit, String(bytes));
    }
  } catch {
    // Busy (the kernel could take back no more), or gone: killed at once, as a cgroup of version 2 does.
  }
}

/** The files of the process's cgroup, in version 1 or 2. */
async function memoryFiles(pid: number): Promise<{ limit: string; usage: string }> {
  const groups = (await readFile(`/proc/${pid}/cgroup`, 'utf8')).trim().split('\n');
  const old = groups.find((line) => line.split(':')[1]?.split(',').includes('memory'));
  const path = (old ?? groups[0] ?? '').split(':')[2] ?? '';
  return old === undefined
    ? { limit: `/sys/fs/cgroup${path}/memory.max`, usage: `/sys/fs/cgroup${path}/memory.current` }
    : {
        limit: `/sys/fs/cgroup/memory${path}/memory.limit_in_bytes`,
        usage: `/sys/fs/cgroup/memory${path}/memory.usage_in_bytes`,
      };
}

async function isOfPod(id: string, podUid: string, word: string): Promise<boolean> {
  const [groups, line] = await Promise.all([readText(`/proc/${id}/cgroup`), readText(`/proc/${id}/cmdline`)]);
  const spellings = [podUid, podUid.replaceAll('-', '_')];
  return spellings.some((uid) => groups.includes(uid)) && line.split('\0').includes(word);
}

/** A process may be gone by now. */
async function readText(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}
