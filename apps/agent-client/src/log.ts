// What the agent says while it runs: a line of JSON each on stderr, for journald and container logs.
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
}

export const silentLog: Log = { info: () => undefined, warn: () => undefined };

/** The fields `time`, `level` and `message` are its own. `time` gives RFC 3339; `write` gets whole lines. */
export function jsonLog(time: () => string, write: (line: string) => void): Log {
  const say =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      write(`${JSON.stringify({ time: time(), level, ...fields, message }, errorsAsText)}\n`);
  return { info: say('info'), warn: say('warn') };
}

function errorsAsText(_key: string, value: unknown): unknown {
  return value instanceof Error ? value.message : typeof value === 'bigint' ? String(value) : value;
}
