// A file on its way in: written as it comes, hashed on the way, gone unless it is kept.
import { createHash } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';

/** Reads and writes of the sizes that sockets give stay under this. */
const zeros = Buffer.alloc(64 * 1024);
/** Shorter runs of zeros are not worth a hole. */
const holeBytesMin = 4_096;

export class StagedFile {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #hash = createHash('sha256');
  #size = 0;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.#file = file;
  }

  static async create(path: string): Promise<StagedFile> {
    return new StagedFile(path, await open(path, 'wx+', 0o640));
  }

  get size(): number {
    return this.#size;
  }

  get fd(): number {
    return this.#file.fd;
  }

  /** Zeros become a hole: a file that is mostly empty costs the disk what is in it. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    const at = this.#size;
    this.#size += bytes.length;
    if (bytes.length >= holeBytesMin && zeros.subarray(0, bytes.length).equals(bytes)) return;
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, written, bytes.length - written, at + written);
      written += bytesWritten;
    }
  }

  /** Ends the writing; the SHA-256 of all of it, hex. */
  async finish(): Promise<string> {
    await this.#file.truncate(this.#size);
    return this.#hash.digest('hex');
  }

  /** Closes it, and removes it unless it was moved away. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    await rm(this.path, { force: true });
  }
}
