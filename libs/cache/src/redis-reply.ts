// What Redis answers, read strictly: a reply of another shape than the command promises is a bug, not an
// absence.

/** Texts are bytes: the client decodes nothing. */
export type Reply = null | number | string | Uint8Array | readonly Reply[];

/** Fields of an INFO reply. */
export function infoOf(reply: Reply): ReadonlyMap<string, string> {
  const lines = textOf(reply).split('\r\n');
  const fields = lines.filter((line) => line.includes(':') && !line.startsWith('#'));
  return new Map(fields.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

export function listOf(reply: Reply | undefined): readonly Reply[] {
  if (!Array.isArray(reply)) throw new TypeError('Redis answered no list where one was due');
  return reply;
}

export function textOf(reply: Reply | undefined): string {
  if (typeof reply === 'string') return reply;
  if (reply instanceof Uint8Array)
    return Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength).toString();
  throw new TypeError('Redis answered no text where one was due');
}
