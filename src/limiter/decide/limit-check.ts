// Limiter, compile: is one limit something that this limiter can count? In: LimitConfig as it came over the wire.
import type { KeyPart, LimitConfig } from '../../contract/limiter-config.ts';
import { ConfigRejected } from '../config/config-rejected.ts';

/** The largest amount anywhere: exact in a JavaScript number. */
const MAX_AMOUNT = 1e12;
const PERIODS = new Set<string>(['Second', 'Minute', 'Hour', 'Day', 'Week', 'Month', 'Year']);
const POLICIES = new Set<string>(['Open', 'Closed', 'Local']);
const ENFORCEMENTS = new Set<string>(['Enforce', 'Shadow']);
const ABSENCES = new Set<string>(['Share', 'Skip']);
const NAMED_PARTS = new Set<string>(['header', 'query', 'claim']);
const PLAIN_PARTS = new Set<string>(['user', 'application', 'clientIP', 'model', 'tool', 'session']);

/**
 * Checks amounts, names and enumerations; `field` is `limits[2]`.
 * @throws ConfigRejected naming the field, its value and what it must be.
 */
export function checkLimit(limit: LimitConfig, field: string): void {
  check(typeof limit.name === 'string' && limit.name !== '', `${field}.name`, limit.name, 'a name');
  checkRule(limit, `${field}.rule`);
  checkWhole(limit.cost, 0, `${field}.cost`);
  check(Number.isSafeInteger(limit.priority), `${field}.priority`, limit.priority, 'a whole number');
  check(POLICIES.has(limit.failurePolicy), `${field}.failurePolicy`, limit.failurePolicy, 'Open, Closed or Local');
  check(ENFORCEMENTS.has(limit.enforcement), `${field}.enforcement`, limit.enforcement, 'Enforce or Shadow');
  limit.per.forEach((part, index) => {
    checkPart(part, `${field}.per[${index}]`);
  });
}

function checkRule({ rule }: LimitConfig, field: string): void {
  const kind: string = rule.kind;
  check(kind === 'bucket' || kind === 'window', `${field}.kind`, kind, 'bucket or window');
  if (rule.kind === 'bucket') {
    checkWhole(rule.maxTokens, 1, `${field}.maxTokens`);
    checkWhole(rule.burst, 1, `${field}.burst`);
    const { refillPeriodMicros } = rule;
    const inRange = Number.isSafeInteger(refillPeriodMicros) && refillPeriodMicros > 0;
    check(inRange, `${field}.refillPeriodMicros`, refillPeriodMicros, 'a whole number of µs above 0');
    return;
  }
  checkWhole(rule.limit, 0, `${field}.limit`);
  check(PERIODS.has(rule.period), `${field}.period`, rule.period, 'Second, Minute, Hour, Day, Week, Month or Year');
  check(isTimeZone(rule.timeZone), `${field}.timeZone`, rule.timeZone, 'a time zone of the IANA list');
}

function checkPart(part: KeyPart, field: string): void {
  const { type, name } = part;
  if (NAMED_PARTS.has(type)) check(typeof name === 'string' && name !== '', `${field}.name`, name, `a ${type} name`);
  else if (type === 'constant') check(typeof part.value === 'string', `${field}.value`, part.value, 'a text');
  else check(PLAIN_PARTS.has(type), `${field}.type`, type, 'a key part that this limiter knows');
  check(ABSENCES.has(part.whenAbsent), `${field}.whenAbsent`, part.whenAbsent, 'Share or Skip');
  checkBits(part.prefixV4, 32, `${field}.prefixV4`);
  checkBits(part.prefixV6, 128, `${field}.prefixV6`);
}

function checkBits(bits: number | undefined, width: number, field: string): void {
  const inRange = bits === undefined || (Number.isSafeInteger(bits) && bits >= 0 && bits <= width);
  check(inRange, field, bits, `a whole number from 0 to ${width}`);
}

function checkWhole(value: number, least: number, field: string): void {
  const inRange = Number.isSafeInteger(value) && value >= least && value <= MAX_AMOUNT;
  check(inRange, field, value, `a whole number from ${least} to ${MAX_AMOUNT}`);
}

function check(holds: boolean, field: string, value: unknown, wanted: string): void {
  if (!holds) throw new ConfigRejected(`${field} ${JSON.stringify(value)} is not ${wanted}`);
}

/** Zones that were found good: to make a formatter is slow, and thousands of objects name the same few. */
const knownZones = new Set<string>(['UTC']);

function isTimeZone(name: string): boolean {
  if (knownZones.has(name)) return true;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name }).format(0);
  } catch {
    return false;
  }
  knownZones.add(name);
  return true;
}
