// Stage: control plane, tokens. Input: a ServiceAccount token that it made. Output: the same with another expiry,
// which the API server believes.
import { sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { layout } from './cluster-folder.ts';

/** kubectl asks for 10 minutes at least. `folder`: that of the control plane, whose key signs it; wall-clock ms. */
export async function reissueToken(
  folder: string,
  token: string,
  { expiresAtMs }: { readonly expiresAtMs: number },
): Promise<string> {
  const [header = '', body = ''] = token.split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>;
  const changed = { ...claims, iat: 1_600_000_000, nbf: 1_600_000_000, exp: Math.floor(expiresAtMs / 1000) };
  const text = `${header}.${Buffer.from(JSON.stringify(changed)).toString('base64url')}`;
  const key = await readFile(layout(folder).tokenKey, 'utf8');
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}
