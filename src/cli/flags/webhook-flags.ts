// CLI: the flags of sidecar injection. Input: the command line or the environment. Output: settings of the webhook,
// or what is missing.
import type { Command } from 'commander';
import type { OperatorSettings } from '../../controller/settings.ts';
import { flag } from './flags.ts';
import { parseListenOrOff } from './limiter-flags.ts';
import { ownVersion } from '../version.ts';

export interface WebhookFlags {
  readonly webhookListen?: { readonly host: string; readonly port: number };
  readonly injectionConfig?: string;
  readonly webhookConfiguration: string;
  readonly webhookService: string;
  readonly ownNamespace?: string;
  readonly caConfigMap: string;
}

/** So long an operator that was told to stop goes on answering: the API server hears of it a moment later. */
const LINGER_MS = 4_000;

export function withWebhookFlags(command: Command): Command {
  return command
    .addOption(
      flag('--webhook-listen <host:port>', 'WEIR_WEBHOOK_LISTEN', 'where the API server asks for sidecars, or off')
        .default(undefined, 'off')
        .argParser(parseListenOrOff),
    )
    .addOption(
      flag(
        '--injection-config <file>',
        'WEIR_INJECTION_CONFIG',
        'YAML of what is put into pods: image, operator, resources … (docs/sidecars.md); followed',
      ),
    )
    .addOption(
      flag('--webhook-configuration <name>', 'WEIR_WEBHOOK_CONFIGURATION', 'whose webhooks are given the CA').default(
        'weir-injector',
      ),
    )
    .addOption(
      flag('--webhook-service <name>', 'WEIR_WEBHOOK_SERVICE', 'by which the API server dials the webhook').default(
        'weir-webhook',
      ),
    );
}

/** What no flag can say alone. */
export function complaintAboutWebhook({ webhookListen, injectionConfig }: WebhookFlags): string | undefined {
  if (webhookListen === undefined || injectionConfig !== undefined) return undefined;
  return '--webhook-listen needs --injection-config: the file that names the image of the limiter';
}

/** Nothing, when no sidecars are injected. */
export function webhookSettingsOf(
  flags: WebhookFlags,
): Pick<OperatorSettings, 'webhook' | 'webhookConfiguration' | 'webhookService'> {
  const { webhookListen: listen, injectionConfig: configFile, caConfigMap, ownNamespace } = flags;
  const { webhookConfiguration, webhookService } = flags;
  if (listen === undefined || configFile === undefined) {
    return { webhook: undefined, webhookConfiguration: undefined, webhookService: undefined };
  }
  const place = ownNamespace === undefined ? {} : { ownNamespace };
  const webhook = { listen, configFile, caConfigMap, version: ownVersion(), lingerMs: LINGER_MS, ...place };
  return { webhook, webhookConfiguration, webhookService };
}
