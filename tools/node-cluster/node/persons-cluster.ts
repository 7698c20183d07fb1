// Stage: node, a person's doors. Input: the folder of a cluster. Output: the cluster (or the user's own) ready to be
// used, with the environment of a shell in a file beside it.
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { writeWhole } from '../cluster-folder.ts';
import { loadImage } from './images.ts';
import { attachNode, downNode, upNode } from './node-cluster.ts';
import { chooseNode, type NodeChoice } from './node-programs.ts';

/** The file is `.run/cluster.env` for the usual folder: `source` it in a shell. */
export async function upPersons(folder: string, print: (line: string) => void): Promise<void> {
  const choice = await chooseNode({ log: print });
  if (choice.kind === 'unavailable') throw new Error(`${choice.reason}; to enable: ${choice.remedy}`);
  const kubeconfig =
    choice.kind === 'external'
      ? resolve(choice.kubeconfig)
      : (await upNode({ folder, programs: choice.programs })).kubeconfig;
  const path = environmentFile(folder);
  await mkdir(dirname(path), { recursive: true });
  await writeWhole(path, environmentText(kubeconfig, choice));
  print(`source ${path}`);
}

export async function downPersons(folder: string): Promise<void> {
  await rm(environmentFile(folder), { force: true });
  await downNode(folder);
}

export async function kubeconfigOfPersons(folder: string): Promise<string | undefined> {
  return process.env['WEIR_TEST_KUBECONFIG'] ?? (await attachNode(folder))?.kubeconfig;
}

/** Returns the archive that it came from. */
export async function loadIntoPersons(folder: string, image: string): Promise<string> {
  if (process.env['WEIR_TEST_KUBECONFIG'])
    throw new Error(`bring ${image} into your cluster with its own tool, such as kind load image-archive`);
  const cluster = await attachNode(folder);
  if (!cluster) throw new Error(`no cluster is up in ${folder}; run make cluster-up first`);
  return await loadImage(cluster.folder, image);
}

function environmentFile(folder: string): string {
  return join(dirname(folder), 'cluster.env');
}

function environmentText(kubeconfig: string, choice: Exclude<NodeChoice, { kind: 'unavailable' }>): string {
  const { kubectl, helm } = choice.kind === 'local' ? choice.programs : choice;
  const folders = [...new Set([dirname(kubectl), dirname(helm)])];
  const lines = [
    `KUBECONFIG=${quote(kubeconfig)}`,
    `HELM=${quote(helm)}`,
    `PATH="$PATH":${folders.map(quote).join(':')}`,
  ];
  return lines.map((line) => `export ${line}\n`).join('');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
