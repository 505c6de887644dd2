// Every message between agents and server as a zod schema with its limits. The schemas validate, and the OpenAPI
// description is made from them. Batches are validated in two steps, envelope then item, since one bad item never
// fails a batch.
import { z } from 'zod';
import { type Address, isAddress } from './address.ts';
import { invalid, SymkeepError } from './errors.ts';
import type { ReportedFrame } from './frames.ts';
import {
  type ExecutableId,
  type FileIds,
  gnuId,
  goId,
  htlhashId,
  isGoBuildId,
  isSharedGnuId,
  parseExecutableId,
} from './ids.ts';
import { nameLengthMax } from './names.ts';
import type { ExecutableRecord, ReportedExecutable } from './record.ts';

/** IDs or executables in one request: 1,000 records are about half a megabyte of answer. */
export const itemsMax = 1_000;
/** Addresses in one frames lookup: what a profile of one host holds in a minute, several times over. */
export const addressesMax = 65_536;
/** Frames in one report of frames. */
export const framesMax = 4_096;
/** Demangled C++ names reach 60 kB in practice; the longest are useless to a reader. */
export const textLengthMax = 65_536;
/** Executable PT_LOAD segments of one file: linkers make one, sometimes two. */
export const segmentsMax = 16;
/** Compressed body as received. */
export const bodyBytesMax = 8 * 1024 * 1024;
/** Body after decompression. */
export const decodedBytesMax = 32 * 1024 * 1024;
/** Longest wait of a poll for events: under the usual 30 s of proxies. */
export const eventsWaitMsMax = 25_000;
/** Items of one page of a list. */
export const pageMax = 1_000;

const addressSchema = z
  .union([z.string(), z.number(), z.bigint()])
  .refine(isAddress, 'is not an address: 0x and 1 to 16 hex digits, a safe integer, or a uint64')
  .transform((value): Address => BigInt(value))
  .meta({ description: 'unsigned 64 bit: "0x…" or a safe integer; uint64 in MessagePack' });
const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const text = z.string().max(textLengthMax);
const items = z.array(z.unknown()).max(itemsMax);

export const lookupRequest = z.object({ ids: z.array(z.unknown()).max(itemsMax) });
/** Who reports. */
export const agentSchema = z.object({
  host: z.string().max(255),
  version: z.string().max(64),
  uploads: z.boolean().default(true).meta({ description: 'false: never ask this agent for files' }),
  uploading: z.boolean().default(false).meta({ description: 'it sends files already: ask others first' }),
});
export const checkRequest = z.object({
  agent: agentSchema.optional().meta({ description: 'without it the reply asks for no files' }),
  executables: items,
});
export const reportRequest = z.object({ agent: agentSchema, executables: items });
export const framesLookupRequest = z.object({ requests: items });
export const framesReportRequest = z.object({ frames: z.array(z.unknown()).max(framesMax) });

export const idItem = z
  .string()
  .meta({ description: 'gnu:<hex>, htlhash:<32 hex>, go:<base64url>, or bare hex for gnu' });
export const checkItem = z.object({ id: idItem, generation: count });
export const reportItem = z.object({
  ids: z.object({ gnu: z.string().optional(), htlhash: z.string(), go: z.string().optional() }),
  name: z
    .string()
    .max(nameLengthMax)
    .refine((name) => !name.includes('\0'), 'holds a NUL')
    .default(''),
  arch: z.string().max(32).default(''),
  type: z.string().max(32).default(''),
  size: count.default(0),
  load: z
    .array(z.tuple([addressSchema, addressSchema]))
    .max(segmentsMax)
    .default([]),
});
export const framesLookupItem = z.object({
  id: idItem,
  addresses: z.array(addressSchema).max(addressesMax),
  weights: z.array(count).optional(),
});
export const frameItem = z.object({
  id: idItem,
  address: addressSchema,
  function: text.min(1),
  rawName: text.default(''),
  file: text.default(''),
  line: count.default(0),
  column: count.default(0),
  startLine: count.default(0),
});

export type LookupResult =
  | { record: ExecutableRecord }
  | { error: { code: 'not_found' | 'unavailable' | 'invalid_argument' | 'erased' } };
export type CheckResult = 'ok' | 'missing' | 'changed' | 'erased' | 'unavailable' | 'invalid_argument';
export type ReportStatus = 'created' | 'merged' | 'unchanged' | 'error';
export interface ReportResult {
  readonly status: ReportStatus;
  /** Absent on an error. */
  readonly id?: ExecutableId;
  readonly generation?: number;
  readonly error?: { readonly code: string; readonly message: string; readonly details?: unknown };
}
/** Who reports or checks, and whether it may be asked for files. */
export interface AskedAgent {
  readonly host: string;
  readonly uploads?: boolean;
  readonly uploading?: boolean;
}
/** A file that the server asks an agent for. */
export interface UploadRequest {
  readonly id: ExecutableId;
  /** For the header `symkeep-lease`. */
  readonly lease: string;
  /** Path at the server. */
  readonly url: string;
  /** An executable that refers to the file, where that is shared by several (dwz). */
  readonly of?: ExecutableId;
}
/** Of the reply to a report, and to a check; absent is empty. */
export interface FilesAsked {
  readonly upload?: readonly UploadRequest[];
  /** Executables whose file is sought and not asked of this agent now: worth a check in the next cycle. */
  readonly waiting?: readonly ExecutableId[];
}
export interface ReportReply extends FilesAsked {
  readonly results: ReportResult[];
}
export type EventKind = 'record' | 'frames' | 'symbols' | 'erased';
export interface SymkeepEvent {
  readonly id: ExecutableId;
  readonly generation: number;
  readonly kind: EventKind;
  /** Its symbols are missed: a check says whether this agent is asked for its file. */
  readonly wanted?: true;
}
export type EventsReply = { events: SymkeepEvent[]; cursor: string } | { reset: true; cursor: string };
export interface InfoReply {
  readonly version: string;
  readonly epoch: string;
  readonly limits: Readonly<Record<string, number>>;
  readonly features: readonly string[];
}

/** Validates a message or item. Throws `invalid_argument` whose message names every mistake with its path. */
export function parseMessage<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const tooMany = parsed.error.issues.find(
    (issue) => issue.code === 'too_big' && issue.origin === 'array' && issue.path.length <= 1,
  );
  if (tooMany !== undefined) throw new SymkeepError('too_large', describe(tooMany));
  throw invalid(parsed.error.issues.slice(0, 10).map(describe).join('; '));
}

export function parseReportItem(value: unknown): ReportedExecutable {
  const { ids, ...rest } = parseMessage(reportItem, value);
  return { ids: fileIdsOf(ids), ...rest };
}

export function parseCheckItem(value: unknown): { id: ExecutableId; generation: number } {
  const { id, generation } = parseMessage(checkItem, value);
  return { id: parseExecutableId(id), generation };
}

export function parseIdItem(value: unknown): ExecutableId {
  return parseExecutableId(parseMessage(idItem, value));
}

export function parseFrameItem(value: unknown): ReportedFrame {
  const { id, address, ...frame } = parseMessage(frameItem, value);
  return { id: parseExecutableId(id), address, frame };
}

export function parseFramesLookupItem(value: unknown): {
  id: ExecutableId;
  addresses: Address[];
  weights?: number[];
} {
  // Each address through the schema would cost more than looking it up. It words every mistake.
  const { id, addresses, weights } = plainLookupOf(value) ?? parseMessage(framesLookupItem, value);
  if (weights !== undefined && weights.length !== addresses.length)
    throw invalid('weights: not as many as addresses');
  return { id: parseExecutableId(id), addresses, ...(weights === undefined ? {} : { weights }) };
}

function plainLookupOf(value: unknown): z.output<typeof framesLookupItem> | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, addresses, weights } = value as { id?: unknown; addresses?: unknown; weights?: unknown };
  if (typeof id !== 'string' || !Array.isArray(addresses) || weights !== undefined) return undefined;
  if (addresses.length > addressesMax || !addresses.every(isAddress)) return undefined;
  return { id, addresses: addresses.map((address) => BigInt(address)) };
}

// A malformed GNU ID is an error. A placeholder, or a Go ID of another form than a/b/c/d, is the truth about that file but
// no key: it is left out.
function fileIdsOf(ids: z.output<typeof reportItem>['ids']): FileIds {
  const gnu = (ids.gnu ?? '').replace(/^gnu:/, '');
  const go = (ids.go ?? '').replace(/^go:/, '');
  return {
    htlhash: htlhashId(ids.htlhash.replace(/^htlhash:/, '')),
    ...(gnu === '' || isSharedGnuId(gnu) ? {} : { gnu: gnuId(gnu) }),
    ...(isGoBuildId(goTextOf(go)) ? { go: goId(goTextOf(go)) } : {}),
  };
}

// The Go build ID as it stands in the note has slashes, which base64url has not: the two forms cannot be confused.
function goTextOf(go: string): string {
  return go.includes('/') ? go : Buffer.from(go, 'base64url').toString('latin1');
}

function describe(issue: { path: PropertyKey[]; message: string }): string {
  const path = issue.path.map(String).join('.');
  return path === '' ? issue.message : `${path}: ${issue.message}`;
}
