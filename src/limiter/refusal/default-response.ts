// Limiter, refuse stage: how answers look where no object says so. Data.
import type { ResponseConfig } from '../../contract/limiter-config.ts';

export const DEFAULT_RESPONSE: ResponseConfig = {
  dialect: 'Auto',
  headers: [],
  resetFormat: 'Delta',
  mcp: { form: 'ToolResult', code: 429 },
};
