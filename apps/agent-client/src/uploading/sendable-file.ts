// A file that is open and was found to be what is asked for: its own IDs say so, again right before it is sent. It is read
// through one descriptor, so that what is sent is what was looked at.
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { type ElfImage, fileSource, identify, openElf, qualityOf } from '@symkeep/elf';
import { type ExecutableId, type FileIds, kindOf, type Quality } from '@symkeep/protocol';
import { type HostFiles, identityOf, type OpenFile, type Path } from '../discovery/host-files.ts';
import { executableOf, problemOf } from '../discovery/live-file.ts';

/** Of a section that is read here: links, and a few symbols. */
const sectionBytesMax = 4 * 1024 * 1024;
/** Hashed between two pauses: about half a millisecond. */
const hashBytes = 1024 * 1024;

export interface Hashes {
  /** Hex. */
  readonly sha256: string;
  readonly crc32: number;
}

export class SendableFile {
  readonly bytes: number;
  readonly image: ElfImage;
  readonly quality: Quality;
  readonly #file: OpenFile;
  readonly #id: ExecutableId;
  readonly #identity: string;

  private constructor(file: OpenFile, id: ExecutableId) {
    const stat = file.stat();
    this.#file = file;
    this.#id = id;
    this.#identity = identityOf(stat);
    this.bytes = Number(stat.size);
    this.image = openElf(this.#source(), { sectionBytesMax });
    this.quality = qualityOf(this.image);
  }

  /** Undefined if it cannot be read, is larger than `bytesMax`, or its own IDs say that it is another file. */
  static open(files: HostFiles, path: Path, id: ExecutableId, bytesMax: number): SendableFile | undefined {
    let file: OpenFile | undefined;
    try {
      file = files.open(path);
      const { regular, size } = file.stat();
      const found = regular && size <= BigInt(bytesMax) ? new SendableFile(file, id) : undefined;
      if (found?.isStillIt() === true) return found;
    } catch (error) {
      problemOf(error);
    }
    file?.close();
    return undefined;
  }

  /** Whether the open file has not changed, and is the one that was asked for by the IDs in its bytes. */
  isStillIt(): boolean {
    if (identityOf(this.#file.stat()) !== this.#identity) return false;
    return idsOf(this.#source())[kindOf(this.#id)] === this.#id;
  }

  /** Reads all of it, with pauses. Throws the signal's reason, or an error of the system. */
  async hashes(signal: AbortSignal): Promise<Hashes> {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(Math.min(hashBytes, Math.max(1, this.bytes)));
    let crc = 0;
    for (let position = 0; position < this.bytes; ) {
      signal.throwIfAborted();
      const part = buffer.subarray(0, this.#read(buffer, position));
      hash.update(part);
      crc = crc32(part, crc);
      position += part.length;
      await nextTurn();
    }
    return { sha256: hash.digest('hex'), crc32: crc };
  }

  /** Its bytes, in parts of a length. Throws an error of the system. */
  *parts(length: number): Generator<Buffer> {
    for (let position = 0; position < this.bytes; ) {
      const buffer = Buffer.allocUnsafe(Math.min(length, this.bytes - position));
      const part = buffer.subarray(0, this.#read(buffer, position));
      position += part.length;
      yield part;
    }
  }

  close(): void {
    this.#file.close();
  }

  #read(buffer: Buffer, position: number): number {
    const count = this.#file.readAt(buffer, position);
    if (count === 0) throw Object.assign(new Error('the file became shorter'), { code: 'EIO' });
    return Math.min(count, this.bytes - position);
  }

  #source() {
    return fileSource(this.bytes, (buffer, offset) => this.#file.readAt(buffer, offset));
  }
}

function idsOf(source: ReturnType<typeof fileSource>): FileIds {
  return executableOf(identify(source), '').ids;
}
