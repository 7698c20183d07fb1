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

/** How long a stopping operator keeps answering: the API server notices a moment later. */
const LINGER_MS = 4_000;

export function withWebhookFlags(command: Command): Command {
  return command
    .addOption(
      flag('--webhook-listen <host:port>', 'WEIR_WEBHOOK_LISTEN', 'address of the injection webhook, or off')
        .default(undefined, 'off')
        .argParser(parseListenOrOff),
    )
    .addOption(
      flag(
        '--injection-config <file>',
        'WEIR_INJECTION_CONFIG',
        'YAML file with the settings of injected limiters (docs/sidecars.md); reloaded when it changes',
      ),
    )
    .addOption(
      flag(
        '--webhook-configuration <name>',
        'WEIR_WEBHOOK_CONFIGURATION',
        'MutatingWebhookConfiguration that the operator writes the CA to',
      ).default('weir-injector'),
    )
    .addOption(
      flag(
        '--webhook-service <name>',
        'WEIR_WEBHOOK_SERVICE',
        'Service of the webhook, named in its certificate',
      ).default('weir-webhook'),
    );
}

/** What no flag can say alone. */
export function complaintAboutWebhook({ webhookListen, injectionConfig }: WebhookFlags): string | undefined {
  if (webhookListen === undefined || injectionConfig !== undefined) return undefined;
  return '--webhook-listen requires --injection-config: the file that names the image of the limiter';
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
