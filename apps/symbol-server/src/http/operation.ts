// One operation of the API: what it takes, what it answers, what it does. It knows nothing of HTTP beyond that: how its
// messages are encoded, limited and accounted for is the same for all, in `exchange.ts`. The OpenAPI description is
// made from the same schemas that validate.
import type { Clock, EpochSample } from '@symkeep/cache';
import type { Encoding } from '@symkeep/protocol';
import { z } from 'zod';
import type { Asking } from '../asking/asking.ts';
import type { Backfills } from '../backfills/backfills.ts';
import type { BlobStore } from '../blobs/blob-store.ts';
import type { Catalog } from '../catalog/index.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Receiver } from '../sources/receive.ts';
import type { Caller } from './access.ts';
import type { IncomingBody } from './body.ts';
import type { Waiters } from './waiters.ts';

export type Role = 'read' | 'agent' | 'upload' | 'admin';

/** What operations work with. */
export interface Context {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly jobs: Jobs;
  readonly backfills: Backfills;
  readonly waiters: Waiters;
  readonly receiver: Receiver;
  readonly asking: Asking;
  readonly clock: Clock;
  readonly version: string;
}

export interface Request<Query, Body> {
  /** The parts of the path in braces, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  readonly header: (name: string) => string | undefined;
  /** The epoch that the reply will carry; writes note in it what the store said of it. */
  readonly sample: EpochSample;
  /** Takes another in its place: for what touches the store only after a long time. Throws `unavailable`. */
  readonly renewSample: () => EpochSample;
  /** What is sent, of an operation that takes a file. Nothing of it is read before it is asked for. */
  readonly file: IncomingBody;
  readonly caller: Caller;
  /** Aborted when the client is gone or the server ends. */
  readonly signal: AbortSignal;
}

/** A message; or the bytes of one in either encoding, where stored bytes are spliced; or an open stream of events. */
export type Reply =
  | { readonly value: unknown; readonly status?: 200 | 202 }
  | { readonly bytes: (encoding: Encoding) => Uint8Array; readonly etag?: string }
  | { readonly events: ReadableStream<Uint8Array> };

export interface Operation<Query extends z.ZodType = z.ZodType, Body extends z.ZodType = z.ZodType> {
  readonly summary: string;
  readonly role: Role;
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Query;
  readonly body?: Body;
  /** Of the items in the body, where they are validated one by one. */
  readonly item?: { readonly field: string; readonly schema: z.ZodType };
  /** It takes a file instead of a message; this says what it is for. */
  readonly file?: string;
  readonly reply: z.ZodType;
  /** Of replies with the status 202. */
  readonly accepted?: z.ZodType;
  run(context: Context, request: Request<z.output<Query>, z.output<Body>>): Reply | Promise<Reply>;
}

export function isWrite({ role }: Operation): boolean {
  return role !== 'read';
}

/**
 * Header of writes. Nearly every write is idempotent by what it does, so the key need not be kept: a repeat finds that
 * nothing is left to do and says so. A backfill is not, and gets its ID from the key.
 */
export const idempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'idempotency-key: is not 1 to 255 visible ASCII characters')
  .optional()
  .meta({
    description: 'makes a repeated POST the same backfill; repeating another write changes nothing anyway',
  });

/** Keeps the types of an operation's own query and body while a list of operations forgets them. */
export function defineOperation<Query extends z.ZodType, Body extends z.ZodType>(
  operation: Operation<Query, Body>,
): Operation {
  return {
    ...operation,
    run: (context, request) => operation.run(context, request as Request<z.output<Query>, z.output<Body>>),
  };
}
