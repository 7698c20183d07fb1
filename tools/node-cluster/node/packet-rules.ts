// Stage: node, packet rules. Input: what iptables-save prints. Output: the script for iptables-restore that takes out
// what Kubernetes and CNI put in, and nothing else.

const ours = /^(?:KUBE|CNI)-/;

/** Empty when there is nothing to take out. One table at a time, so that each is changed in one step. */
export function removalScript(saved: string): string {
  const tables = saved.split(/^(?=\*)/m).filter((text) => text.startsWith('*'));
  return tables.map(tableRemoval).join('');
}

function tableRemoval(text: string): string {
  const lines = text.split('\n');
  const chains = lines.filter((line) => line.startsWith(':')).map((line) => line.slice(1).split(' ')[0]!);
  const removed = chains.filter((chain) => ours.test(chain));
  if (removed.length === 0) return '';
  const jumps = lines.filter((line) => {
    const [, chain = ''] = /^-A (\S+) /.exec(line) ?? [];
    const [, target = ''] = / -[jg] (\S+)/.exec(line) ?? [];
    return chain !== '' && !ours.test(chain) && ours.test(target);
  });
  return [
    lines[0]!,
    ...jumps.map((line) => line.replace(/^-A/, '-D')),
    ...removed.map((chain) => `-F ${chain}`),
    ...removed.map((chain) => `-X ${chain}`),
    'COMMIT\n',
  ].join('\n');
}
