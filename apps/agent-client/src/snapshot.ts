// What the agent keeps over a restart: what it read from files, what the store has acknowledged, how far it has heard
// events, and the records it held. Every part is bound to what it is about (file identities, epochs), so an old snapshot
// costs some checks and can never make the agent believe something wrong.
//
//     8 bytes   "SKAGENT" and a line feed
//     4 bytes   version, little-endian
//     4 bytes   length of the body, little-endian
//     32 bytes  SHA-256 of the body
//     …         body: MessagePack, as `content` below
import { createHash } from 'node:crypto';
import {
  decode,
  type ExecutableRecord,
  encode,
  parseExecutableId,
  type ReportedExecutable,
} from '@symkeep/protocol';
import { z } from 'zod';

/** 1: the first. */
export const snapshotVersion = 1;
const magic = Buffer.from('SKAGENT\n');
const headerBytes = magic.length + 4 + 4 + 32;
/** 32,768 executables with marks in four epochs and 4,096 records are 30 MB. */
export const snapshotBytesMax = 67_108_864;

const id = z.string().transform(parseExecutableId);
const segment = z.tuple([
  z.union([z.number(), z.bigint()]).transform(BigInt),
  z.union([z.number(), z.bigint()]).transform(BigInt),
]);
const executable = z.object({
  ids: z.object({ gnu: id.optional(), htlhash: id, go: id.optional() }),
  name: z.string(),
  arch: z.string(),
  type: z.string(),
  size: z.number(),
  load: z.array(segment),
});
const content = z.object({
  host: z.string(),
  /** Live executables, each with the identities of its files. */
  executables: z.array(z.object({ executable, files: z.array(z.string()) })),
  /** Acknowledgements of each epoch, the epoch heard last at the end: `[key, id, generation, name, refused, checkInMs]`. */
  epochs: z.array(
    z.object({
      epoch: z.string(),
      /** Position in the events of that epoch; absent if none was heard. */
      cursor: z.string().optional(),
      marks: z.array(z.tuple([z.string(), id, z.number(), z.string(), z.boolean(), z.number()])),
    }),
  ),
  /** Records as the server gave them, the one unused for longest first. */
  records: z.array(z.object({ id }).loose()),
});

export interface Snapshot {
  readonly host: string;
  readonly executables: readonly {
    readonly executable: ReportedExecutable;
    readonly files: readonly string[];
  }[];
  readonly epochs: readonly {
    readonly epoch: string;
    readonly cursor?: string | undefined;
    readonly marks: readonly SnapshotMark[];
  }[];
  readonly records: readonly ExecutableRecord[];
}

export type SnapshotMark = z.output<typeof content>['epochs'][number]['marks'][number];

/** `corrupt`: cut, damaged, or no snapshot. `version`: of another version of the agent. `foreign`: of another host. */
export type SnapshotFault = 'corrupt' | 'version' | 'foreign';

export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
  readonly fault: SnapshotFault;
  constructor(fault: SnapshotFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.fault = fault;
  }
}

export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
  const body = encode(snapshot, 'msgpack');
  const header = Buffer.alloc(headerBytes);
  magic.copy(header);
  header.writeUInt32LE(snapshotVersion, magic.length);
  header.writeUInt32LE(body.length, magic.length + 4);
  digestOf(body).copy(header, magic.length + 8);
  return Buffer.concat([header, body]);
}

/** Throws `SnapshotError`. */
export function decodeSnapshot(bytes: Uint8Array, host: string): Snapshot {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, headerBytes));
  if (header.length < headerBytes || !header.subarray(0, magic.length).equals(magic)) {
    throw new SnapshotError('corrupt', 'not a snapshot');
  }
  const version = header.readUInt32LE(magic.length);
  if (version !== snapshotVersion)
    throw new SnapshotError('version', `version ${version}, not ${snapshotVersion}`);
  const body = bytes.subarray(headerBytes);
  if (body.length !== header.readUInt32LE(magic.length + 4))
    throw new SnapshotError('corrupt', 'not of its length');
  if (!digestOf(body).equals(header.subarray(magic.length + 8)))
    throw new SnapshotError('corrupt', 'not of its digest');
  const snapshot = parse(body);
  if (snapshot.host !== host) throw new SnapshotError('foreign', `of the host ${snapshot.host}, not ${host}`);
  return snapshot;
}

function parse(body: Uint8Array): Snapshot {
  try {
    return content.parse(decode(body, 'msgpack')) as unknown as Snapshot;
  } catch (error) {
    throw new SnapshotError('corrupt', `not of its form: ${(error as Error).message}`, error);
  }
}

function digestOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest();
}
