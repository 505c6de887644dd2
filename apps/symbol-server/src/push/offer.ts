// What a file on this host is, as it is offered to the server.
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { ElfError, fileSource } from '@symkeep/elf';
import type { ExecutableId } from '@symkeep/protocol';
import { type FileFacts, inspectFile } from '../sources/inspect.ts';
import type { FoundFile } from './elf-walk.ts';

export interface Offered extends FoundFile {
  readonly id: ExecutableId;
  readonly facts: FileFacts;
  /** SHA-256, hex. */
  readonly digest: string;
  /** `?…` of the question whether it is wanted. */
  readonly question: string;
}

/** The offer, or why this file is of no use to anyone. Throws what the file system does. */
export async function offerOf(file: FoundFile): Promise<Offered | string> {
  const facts = factsOf(file.path);
  if (typeof facts === 'string') return facts;
  const { kind, quality, covered, ids, type } = facts;
  if (type === 'core') return 'a core dump';
  const id = ids.gnu ?? (kind === 'executable' && type !== 'rel' ? ids.htlhash : undefined);
  if (id === undefined) return 'it has no build ID';
  if (kind === 'debug' && quality === 'none') return 'there are no symbols in it';
  const digest = await digestOf(file.path);
  const question = new URLSearchParams({ quality, kind, covered: String(covered), digest });
  return { ...file, id, facts, digest, question: `?${question}` };
}

/** The name under which an executable is kept in mind. */
export function nameOf({ path, facts }: Offered): string {
  return facts.kind === 'executable' ? basename(path) : '';
}

function factsOf(path: string): FileFacts | string {
  const fd = openSync(path, 'r');
  try {
    const read = (buffer: Uint8Array, offset: number) => readSync(fd, buffer, 0, buffer.length, offset);
    return inspectFile(fileSource(fstatSync(fd).size, read));
  } catch (error) {
    if (error instanceof ElfError) return error.message;
    throw error;
  } finally {
    closeSync(fd);
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }))
    hash.update(chunk as Buffer);
  return hash.digest('hex');
}
