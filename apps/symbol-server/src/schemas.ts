// The replies as zod schemas: what the OpenAPI description shows, and what tests hold real replies against. Requests have
// theirs in libs/protocol, where they validate.
import { HTTP_STATUS, itemsMax, nameLengthMax, pageMax, qualities, symbolStates } from '@symkeep/protocol';
import { z } from 'zod';
import { returnReasons } from './asking/upload-leases.ts';
import { backfillSources, backfillStates, priorityMax, rateMax } from './backfills/backfill.ts';
import { trusts } from './sources/source-set.ts';

const count = z.number().int().nonnegative();
const id = z.string().meta({ description: 'gnu:<hex>, htlhash:<32 hex> or go:<base64url>' });
const time = z.string().meta({ format: 'date-time' });
const generation = count.meta({ description: 'compared for equality only' });
const errorCode = z.enum(Object.keys(HTTP_STATUS) as [keyof typeof HTTP_STATUS]);

export const errorReply = z
  .object({ error: z.object({ code: errorCode, message: z.string(), details: z.unknown().optional() }) })
  .meta({ id: 'Error' });

export const recordReply = z
  .object({
    id,
    ids: z.object({ gnu: z.string().optional(), htlhash: z.array(z.string()), go: z.array(z.string()) }),
    ambiguous: z.boolean().meta({ description: 'two different files have this ID; ask by htlhash' }),
    fileName: z.string(),
    names: z.array(z.string()),
    nameCount: count,
    arch: z.string(),
    type: z.string(),
    size: count,
    firstSeen: time,
    lastSeen: time.meta({ description: 'true to the day' }),
    generation,
    symbols: z.object({
      state: z.enum(symbolStates),
      quality: z.enum(qualities),
      functions: count,
      ranges: count,
      bytes: count,
      sources: z.array(z.string()),
      digest: z.string().optional(),
      reason: z.string().optional(),
      setVersion: count.optional(),
    }),
  })
  .meta({ id: 'Record' });

export const jobReply = z.object({
  state: z.enum(['queued', 'running', 'done', 'failed']),
  progress: z.number().min(0).max(1),
  position: count.optional().meta({ description: 'in the queue, 1 is next' }),
  error: z
    .object({ code: z.string(), message: z.string() })
    .optional()
    .meta({ description: 'of the last attempt' }),
});

export const infoReply = z.object({
  version: z.string(),
  epoch: z.string(),
  limits: z.record(z.string(), count),
  features: z.array(z.string()),
});

export const lookupReply = z.object({
  results: z.array(
    z.union([
      z.object({ record: recordReply }),
      z.object({
        error: z.object({ code: z.enum(['not_found', 'unavailable', 'erased', 'invalid_argument']) }),
      }),
    ]),
  ),
});

const filesAsked = {
  upload: z
    .array(
      z.object({
        id,
        lease: z.string().meta({ description: 'for the header symkeep-lease of the PUT' }),
        url: z.string().meta({ description: 'path of the PUT' }),
        of: id
          .optional()
          .meta({ description: 'an executable that refers to the file, if it is shared (dwz)' }),
      }),
    )
    .meta({ description: 'files that this agent is asked for, and no other' }),
  waiting: z
    .array(id)
    .optional()
    .meta({ description: 'files of these are sought as well: check them again in the next cycle' }),
};
export const checkReply = z.object({
  results: z.array(z.enum(['ok', 'missing', 'changed', 'erased', 'unavailable', 'invalid_argument'])),
  upload: filesAsked.upload.optional(),
  waiting: filesAsked.waiting,
});

const reportResult = z.object({
  status: z.enum(['created', 'merged', 'unchanged', 'error']),
  id: id.optional(),
  generation: generation.optional(),
  error: z.object({ code: z.string(), message: z.string(), details: z.unknown().optional() }).optional(),
});
export const reportReply = z.object({ results: z.array(reportResult), ...filesAsked });
export const framesReportReply = z.object({ results: z.array(reportResult) });

export const searchQuery = z.object({
  name: z.string().max(255).optional().meta({ description: 'part of the file name, in any case' }),
  state: z.enum(symbolStates).optional(),
  quality: z.enum(qualities).optional(),
  cursor: z.string().max(4096).optional(),
  limit: z.coerce.number().int().min(1).max(pageMax).default(100),
});
export const searchReply = z.object({ items: z.array(recordReply), nextCursor: z.string().nullable() });

const frameStatus = z.number().int().min(0).max(4).meta({
  description:
    '0 resolved, 1 no symbol at this address, 2 symbols not ready, 3 unknown executable, 4 unavailable now',
});
const frameSource = z.enum([...qualities, 'agent']);
export const framesAtReply = z.object({
  status: frameStatus,
  generation,
  source: frameSource,
  frames: z.array(
    z.object({
      function: z.string(),
      rawName: z.string(),
      file: z.string(),
      line: count,
      column: count,
      startLine: count,
    }),
  ),
});
const indexes = z.array(count).meta({ description: 'indexes into strings; 0 is absent' });
const numbers = z.array(count).meta({ description: '0 is absent' });
export const framesLookupReply = z.object({
  strings: z.array(z.string()).meta({ description: 'strings[0] is "" and means absent' }),
  results: z.array(
    z.object({
      id: z.string(),
      canonical: z.string(),
      generation,
      status: z.array(frameStatus).meta({ description: 'one per address, in request order' }),
      source: z.array(frameSource),
      frameCounts: z.array(count),
      function: indexes,
      rawName: indexes,
      file: indexes,
      line: numbers,
      column: numbers,
      startLine: numbers,
      error: z.object({ code: z.string(), message: z.string() }).optional(),
    }),
  ),
});

export const eventsQuery = z.object({
  cursor: z.string().max(4096).optional(),
  wait: z.coerce.number().min(0).default(0).meta({ description: 'seconds, 25 at most' }),
});
export const eventsReply = z.union([
  z.object({
    events: z.array(
      z.object({
        id,
        generation,
        kind: z.enum(['record', 'frames', 'symbols', 'erased']),
        wanted: z
          .literal(true)
          .optional()
          .meta({ description: 'its symbols are missed; agents may be asked' }),
      }),
    ),
    cursor: z.string(),
  }),
  z.object({ reset: z.literal(true), cursor: z.string() }),
]);

export const wantedQuery = z.object({
  limit: z.coerce.number().int().min(1).max(pageMax).default(100),
});
export const wantedReply = z.object({
  items: z.array(
    z.object({
      id: id.meta({ description: 'as it was asked for, if no such executable is known' }),
      samples: z
        .number()
        .meta({ description: 'asked for in vain, in samples; in addresses where no weights came' }),
      record: recordReply.optional(),
    }),
  ),
  nextCursor: z.null(),
});

export const emptyReply = z.object({});
const quality = z.enum(qualities);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'is not a SHA-256 in lower-case hex');
export const debuginfoHeadQuery = z.object({
  quality: quality.default('dwarf'),
  kind: z
    .enum(['executable', 'debug'])
    .optional()
    .meta({ description: 'what the file is, if that is known' }),
  covered: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .meta({ description: 'bytes of code that its symbols cover' }),
  digest: sha256.optional().meta({ description: 'SHA-256 of the file' }),
});
export const debuginfoPutQuery = z.object({
  replace: z
    .enum(['true', 'false'])
    .default('false')
    .transform((text) => text === 'true')
    .meta({ description: 'take the place of the others, whatever they are (role admin)' }),
  name: z
    .string()
    .max(nameLengthMax)
    .default('')
    .meta({ description: 'path or name of an executable, for its record' }),
});
export const debuginfoReturnQuery = z.object({
  reason: z
    .enum(returnReasons)
    .default('failed')
    .meta({ description: 'absent and failed: this host is not asked again for a while' }),
});
export const debuginfoKept = z.object({
  status: z.literal('kept'),
  id,
  reason: z.enum(['known', 'not_better', 'quarantined']),
});
export const debuginfoAccepted = z.object({
  status: z.literal('accepted'),
  id,
  job: z.string().meta({ description: 'for /v1/jobs/{job}' }),
  digest: sha256,
});

export const agentsReply = z.object({
  items: z.array(z.object({ host: z.string(), version: z.string(), lastSeen: time })),
  nextCursor: z.null(),
});

const counts = (keys: readonly string[]) => z.object(Object.fromEntries(keys.map((key) => [key, count])));
export const statsReply = z.object({
  executables: count,
  ambiguous: count,
  states: counts(symbolStates),
  qualities: counts(qualities),
  functions: count,
  ranges: count,
  bytes: count.meta({ description: 'of all symbol tables' }),
  agents: count,
  epoch: z.string(),
});

export const eraseReply = z.object({
  erased: z.array(id).meta({ description: 'what was there; empty if it had been erased before' }),
  remains: z.array(z.string()).meta({ description: 'where traces of it are out of this server’s reach' }),
});

export const explainQuery = z.object({ address: z.string().optional() });
export const explainReply = z.object({
  steps: z
    .array(z.looseObject({ at: time, kind: z.string(), text: z.string() }))
    .meta({ description: 'in the order of time; further fields are details of their kind' }),
});

/** Of a reason that an admin gives: it is shown beside each file. */
const reasonLengthMax = 200;

export const pinRequest = z.object({
  digest: sha256.nullable().meta({ description: 'of a table of this executable; null unpins' }),
});

export const rollbackRequest = z.object({
  digest: sha256.optional().meta({ description: 'of the table to go back to; the one before if not given' }),
});

export const quarantineRequest = z.object({
  digest: sha256.meta({ description: 'of a file of this executable' }),
  reason: z
    .string()
    .min(1)
    .max(reasonLengthMax)
    .nullable()
    .meta({ description: 'why it is not to be believed; null: it is again' }),
});

export const sourcesReply = z.object({
  id,
  version: count,
  pinned: sha256.optional(),
  sources: z.array(
    z.object({
      digest: sha256,
      bytes: count,
      kind: z.enum(['executable', 'debug']),
      quality,
      covered: count.meta({ description: 'bytes of code' }),
      trust: z.enum(trusts),
      at: count.meta({ description: 'Unix milliseconds' }),
      alt: z.string().optional().meta({ description: 'build ID of the dwz file that it refers to' }),
      dropped: z.literal(true).optional(),
      quarantined: z.string().optional(),
    }),
  ),
  tables: z.array(
    z.object({
      digest: sha256,
      generation,
      format: count,
      quality,
      from: z.array(sha256),
      partial: z.literal(true).optional(),
      at: count,
    }),
  ),
});

export const correctionReply = sourcesReply.extend({ job: z.string() });

export const pageQuery = z.object({
  cursor: z.string().max(4096).optional(),
  limit: z.coerce.number().int().min(1).max(pageMax).default(100),
});

const backfillFilter = z.object({
  ids: z.array(z.string()).max(itemsMax).optional(),
  name: z.string().max(255).optional().meta({ description: 'part of the file name, in any case' }),
  state: z.enum(symbolStates).optional(),
  qualityBelow: quality.optional(),
  lastSeenAfter: z.iso
    .datetime({ offset: true, error: 'is not a time such as 2026-01-31T00:00:00Z' })
    .optional()
    .meta({ description: 'true to the day' }),
  formatBelow: z
    .number()
    .int()
    .min(1)
    .optional()
    .meta({ description: 'the table in use is of an older format than this' }),
});
const backfillSource = z.enum(backfillSources).meta({
  description: 'stored: files that are here; upstream: debuginfod servers; agents: hosts that have the file',
});
const backfillPriority = z
  .number()
  .int()
  .min(1)
  .max(priorityMax)
  .meta({ description: 'its share beside other backfills' });
const backfillRate = z
  .number()
  .positive()
  .max(rateMax)
  .meta({ description: 'executables asked for a second, at most' });

export const backfillRequest = z.object({
  filter: backfillFilter.default({}),
  source: backfillSource,
  priority: backfillPriority.default(5),
  rate: backfillRate.default(100),
  dryRun: z.boolean().default(false),
});
const countsByCode = z.record(z.string(), count);
export const censusReply = z.object({
  dryRun: z.literal(true),
  total: count,
  states: countsByCode,
  qualities: countsByCode,
  skipped: countsByCode.meta({ description: 'of the total, what nothing would be asked for, by code' }),
  asked: count,
  complete: z.boolean().meta({ description: 'false: there are more, which were not counted' }),
});
export const backfillReply = z.object({
  id: z.string(),
  filter: backfillFilter,
  source: backfillSource,
  priority: backfillPriority,
  rate: backfillRate,
  state: z.enum(backfillStates),
  createdAt: time,
  endedAt: time.optional(),
  progress: z.object({
    total: count,
    done: count,
    failed: count,
    skipped: count,
    running: count.meta({ description: 'asked for, and not come to an end' }),
    bytes: count.meta({ description: 'of the symbol tables that came of it' }),
    rate: z.number().meta({ description: 'executables a second that came to an end, of late' }),
    eta: time.nullable(),
  }),
  reasons: countsByCode.meta({ description: 'failed ones by code' }),
  skippedReasons: countsByCode,
});
export const backfillsReply = z.object({ items: z.array(backfillReply), nextCursor: z.string().nullable() });
export const backfillFailuresReply = z.object({
  items: z.array(z.object({ id, code: z.string(), message: z.string(), at: time })),
  reasons: countsByCode,
  nextCursor: z.string().nullable(),
});
