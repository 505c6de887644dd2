// Blobs as objects of a bucket, by Amazon's client, which speaks to whatever is S3-compatible. An object appears whole
// by itself. The client is loaded only where a bucket is used: it costs 40 MB of memory.
import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import type { Clock } from '@symkeep/cache';
import { type BlobInfo, type BlobStore, type ByteRange, blobTrouble, checkedKey } from './blob-store.ts';
import { Staging } from './staging.ts';

/** The least that S3 takes. One part at a time is in memory per upload; 10,000 parts are allowed. */
const partBytes = 5 * 1024 * 1024;
const connectMsMax = 3_000;
/** Of silence. */
const answerMsMax = 30_000;
/** Tries of a request, with growing pauses. */
const attemptsMax = 4;

export interface S3Place {
  readonly bucket: string;
  /** Empty, or with a slash at its end. */
  readonly prefix: string;
  /** Absent: Amazon's own. */
  readonly endpoint?: string;
  readonly region?: string;
}

type Sdk = typeof import('@aws-sdk/client-s3');
type Uploads = typeof import('@aws-sdk/lib-storage');

/** `staging` is a local directory for files on their way. Credentials come from the AWS environment variables. */
export async function openS3Store(place: S3Place, staging: string, clock: Clock): Promise<S3Store> {
  const sdk = await import('@aws-sdk/client-s3');
  const uploads = await import('@aws-sdk/lib-storage');
  const client = new sdk.S3Client({
    ...(place.region === undefined ? {} : { region: place.region }),
    // Other servers seldom have a name per bucket, nor checksums beyond the request's signature.
    ...(place.endpoint === undefined ? {} : { endpoint: place.endpoint, forcePathStyle: true }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: attemptsMax,
    requestHandler: { connectionTimeout: connectMsMax, requestTimeout: answerMsMax },
  });
  return new S3Store(place, client, { sdk, uploads }, new Staging(staging, clock));
}

export class S3Store implements BlobStore {
  readonly place: string;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #client: S3Client;
  readonly #sdk: Sdk;
  readonly #uploads: Uploads;
  readonly #staging: Staging;

  constructor(
    { bucket, prefix }: S3Place,
    client: S3Client,
    { sdk, uploads }: { sdk: Sdk; uploads: Uploads },
    staging: Staging,
  ) {
    this.place = `s3://${bucket}/${prefix}`;
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#client = client;
    this.#sdk = sdk;
    this.#uploads = uploads;
    this.#staging = staging;
  }

  async keepFile(key: string, path: string): Promise<void> {
    const at = this.#at(key);
    await this.#guarded(async () => {
      const params = { ...at, Body: createReadStream(path) };
      await new this.#uploads.Upload({
        client: this.#client,
        params,
        partSize: partBytes,
        queueSize: 1,
      }).done();
      await rm(path, { force: true });
    });
  }

  async keepBytes(key: string, bytes: Uint8Array): Promise<void> {
    const at = this.#at(key);
    await this.#guarded(() =>
      this.#client.send(new this.#sdk.PutObjectCommand({ ...at, Body: bytes, ContentLength: bytes.length })),
    );
  }

  async info(key: string): Promise<BlobInfo | null> {
    const at = this.#at(key);
    const head = await this.#guarded(() =>
      absentAsNull(() => this.#client.send(new this.#sdk.HeadObjectCommand(at))),
    );
    if (head === null) return null;
    return { key, bytes: head.ContentLength ?? 0, writtenAt: head.LastModified?.getTime() ?? 0 };
  }

  async read(key: string, range?: ByteRange): Promise<Uint8Array | null> {
    const body = await this.stream(key, range);
    return body === null ? null : this.#guarded(() => bytesOf(body));
  }

  async stream(key: string, range?: ByteRange): Promise<Readable | null> {
    const at = this.#at(key);
    if (range !== undefined && range.end <= range.start) {
      return (await this.info(key)) === null ? null : Readable.from([]);
    }
    const Range = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` };
    return this.#guarded(() =>
      absentAsNull(async () => {
        const { Body } = await this.#client.send(new this.#sdk.GetObjectCommand({ ...at, ...Range }));
        return Body as Readable;
      }),
    );
  }

  async withFile<T>(key: string, use: (path: string) => Promise<T>): Promise<T | null> {
    const body = await this.stream(key);
    if (body === null) return null;
    const path = await this.stagingPath();
    try {
      await this.#guarded(() => pipeline(body, createWriteStream(path, { flags: 'wx' })));
      return await use(path);
    } finally {
      await rm(path, { force: true });
    }
  }

  async remove(key: string): Promise<void> {
    const at = this.#at(key);
    await this.#guarded(() => this.#client.send(new this.#sdk.DeleteObjectCommand(at)));
  }

  async *list(prefix: string): AsyncGenerator<BlobInfo> {
    let next: string | undefined;
    do {
      const page = await this.#guarded(() =>
        this.#client.send(
          new this.#sdk.ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: `${this.#prefix}${prefix}`,
            ...(next === undefined ? {} : { ContinuationToken: next }),
          }),
        ),
      );
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
        yield { key: Key.slice(this.#prefix.length), bytes: Size, writtenAt: LastModified?.getTime() ?? 0 };
      }
      next = page.NextContinuationToken;
    } while (next !== undefined);
  }

  stagingPath(): Promise<string> {
    return this.#guarded(() => this.#staging.path());
  }

  /** Of the local files; parts of uploads that were cut short are a matter of the bucket's lifecycle rules. */
  sweep(olderThanMs: number): Promise<number> {
    return this.#guarded(() => this.#staging.sweep(olderThanMs));
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${checkedKey(key)}` };
  }

  async #guarded<T>(use: () => Promise<T>): Promise<T> {
    try {
      return await use();
    } catch (error) {
      throw blobTrouble(this.place, error);
    }
  }
}

// A bucket that is not there must not read as a blob that is not.
async function absentAsNull<T>(use: () => Promise<T>): Promise<T | null> {
  try {
    return await use();
  } catch (error) {
    const { name } = error as Error;
    if (name === 'NoSuchKey' || name === 'NotFound') return null;
    // A range behind the end holds nothing.
    if (name === 'InvalidRange') return Readable.from([]) as T;
    throw error;
  }
}

async function bytesOf(body: Readable): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of body as AsyncIterable<Uint8Array>) parts.push(part);
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
