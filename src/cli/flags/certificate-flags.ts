// CLI: the flags of the operator's certificates. Input: text from the command line or the environment. Output: checked
// settings; lifetimes that cannot be kept are refused together.
import { InvalidArgumentError, type Command } from 'commander';
import { complaintAboutPolicy, DEFAULT_POLICY } from '../../controller/certificates/certificate-plan.ts';
import type { CertificateSettings } from '../../controller/certificates/operator-certificates.ts';
import { flag, parseNamespace } from './flags.ts';

export interface CertificateFlags {
  readonly certificateSecret?: string;
  readonly caConfigMap: string;
  /** ms. */
  readonly certificateLifetime: number;
  readonly caLifetime: number;
  readonly caPropagation: number;
}

const UNIT_MS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000 };

export function withCertificateFlags(command: Command): Command {
  const { leafLifeMs, caLifeMs, propagationMs } = DEFAULT_POLICY;
  return command
    .addOption(
      flag(
        '--certificate-secret <name>',
        'WEIR_CERTIFICATE_SECRET',
        'Secret of the own namespace that holds the certificates, made when missing (default: --tls-dir is used)',
      ).argParser(parseObjectName),
    )
    .addOption(
      flag('--ca-config-map <name>', 'WEIR_CA_CONFIG_MAP', 'ConfigMap with the CA in each namespace with limiters')
        .default('weir-ca')
        .argParser(parseObjectName),
    )
    .addOption(
      flag('--certificate-lifetime <time>', 'WEIR_CERTIFICATE_LIFETIME', 'of certificates in the Secret')
        .default(leafLifeMs, '90d')
        .argParser(parseLifetime),
    )
    .addOption(
      flag('--ca-lifetime <time>', 'WEIR_CA_LIFETIME', 'of the CA in the Secret')
        .default(caLifeMs, '3650d')
        .argParser(parseLifetime),
    )
    .addOption(
      flag('--ca-propagation <time>', 'WEIR_CA_PROPAGATION', 'how long a new CA is handed out before it signs')
        .default(propagationMs, '10m')
        .argParser(parseLifetime),
    );
}

/** What is wrong with the flags together; undefined when nothing is. */
export function complaintAboutFlags(flags: CertificateFlags, ownNamespace: string | undefined): string | undefined {
  if (flags.certificateSecret === undefined) return undefined;
  if (ownNamespace === undefined) return '--certificate-secret needs --own-namespace, the namespace of the Secret';
  const complaint = complaintAboutPolicy(rotationOf(flags));
  return complaint === undefined ? undefined : `--certificate-lifetime, --ca-lifetime, --ca-propagation: ${complaint}`;
}

export function certificateSettingsOf(
  flags: CertificateFlags,
): Pick<CertificateSettings, 'certificateSecret' | 'caConfigMap' | 'rotation'> {
  const { certificateSecret, caConfigMap } = flags;
  return { certificateSecret, caConfigMap, rotation: rotationOf(flags) };
}

/** `90d`, `12h`, `1h30m`, `45s`. @returns ms. */
export function parseLifetime(text: string): number {
  const parts = [...text.matchAll(/(\d{1,6})([dhms])/g)];
  const isWhole = parts.length > 0 && parts.map(([part]) => part).join('') === text;
  const ms = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNIT_MS[unit ?? ''] ?? 0), 0);
  if (!isWhole || ms === 0) throw new InvalidArgumentError('expected a time such as 90d, 12h, 30m or 45s');
  return ms;
}

function parseObjectName(text: string): string {
  try {
    return text.split('.').map(parseNamespace).join('.');
  } catch {
    throw new InvalidArgumentError(`"${text}" is not the name of a Secret or ConfigMap`);
  }
}

function rotationOf(flags: CertificateFlags): { leafLifeMs: number; caLifeMs: number; propagationMs: number } {
  return {
    leafLifeMs: flags.certificateLifetime,
    caLifeMs: flags.caLifetime,
    propagationMs: flags.caPropagation,
  };
}
