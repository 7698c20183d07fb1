// On a real node, processes: the machine that runs the tests is the node. In: a pod and a word of the command line; out: the ids of
// its processes, to be killed and paused as a machine in trouble would.
import { readdir, readFile } from 'node:fs/promises';

/** Processes of the pod (by the UID in their cgroup) whose command line has the word as one argument. */
export async function processesOf(podUid: string, word: string): Promise<number[]> {
  if (podUid === '') throw new Error('no such pod');
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(ids.map(async (id) => ((await isOfPod(id, podUid, word)) ? [Number(id)] : [])));
  return found.flat();
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
