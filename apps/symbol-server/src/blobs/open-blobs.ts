// Where blobs are kept, by one option: a directory, or `s3://bucket/prefix?endpoint=…&region=…`.
import { join, resolve } from 'node:path';
import type { Clock } from '@symkeep/cache';
import type { BlobStore } from './blob-store.ts';
import { DirectoryStore } from './directory-store.ts';
import { openS3Store, type S3Place } from './s3-store.ts';

export interface BlobsPlace {
  /** Absent: `blobs` in the data directory. */
  readonly blobs: string | S3Place | undefined;
  readonly data: string;
}

/** Nothing is read or written yet: a place that cannot be used shows when it is first used. */
export async function openBlobs({ blobs, data }: BlobsPlace, clock: Clock): Promise<BlobStore> {
  if (typeof blobs === 'object') return openS3Store(blobs, join(resolve(data), 'staging'), clock);
  return new DirectoryStore(blobs ?? join(data, 'blobs'), clock);
}

/** Undefined if the text is no S3 place that can be used. */
export function parseS3Place(text: string): S3Place | undefined {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 's3:' || !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(url.hostname))
    return undefined;
  const known = [...url.searchParams.keys()].every((key) => key === 'endpoint' || key === 'region');
  const endpoint = url.searchParams.get('endpoint');
  const region = url.searchParams.get('region');
  if (!known || (endpoint !== null && !/^https?:$/.test(URL.parse(endpoint)?.protocol ?? '')))
    return undefined;
  const path = url.pathname.replace(/^\/+|\/+$/g, '');
  return {
    bucket: url.hostname,
    prefix: path === '' ? '' : `${path}/`,
    ...(endpoint === null ? {} : { endpoint }),
    ...(region === null ? {} : { region }),
  };
}

/** The text of the option, as another process of ours takes it. */
export function formatBlobsPlace(blobs: string | S3Place): string {
  if (typeof blobs === 'string') return resolve(blobs);
  const { bucket, prefix, endpoint, region } = blobs;
  const search = new URLSearchParams({
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
  });
  return `s3://${bucket}/${prefix}${search.size === 0 ? '' : `?${search}`}`;
}
