// The log: JSON lines on stderr, so that stdout stays for what a command was asked for. Tokens and passwords never enter
// it: URLs are logged without their password, headers not at all.
import { destination, type Logger, pino } from 'pino';

export type { Logger };

export function createLog(level: string): Logger {
  return pino({ level, base: { pid: process.pid } }, destination({ fd: 2, sync: true }));
}
