// Search by file name over each shard's ordered index, whose members are `<lower-case file name>\0<ID>`. Results come in
// the order of the names over all shards; a page reads a bounded number of members and says where to go on.
import { type Store, StoreUnavailable, shardCount } from '@symkeep/cache';
import {
  type ExecutableId,
  type ExecutableRecord,
  invalid,
  parseExecutableId,
  type Quality,
  type SymbolState,
} from '@symkeep/protocol';
import { StoredRecord } from './stored-record.ts';

/** Members read per shard and round. */
const chunk = 64;
/** Rounds per page: a search that matches little answers a short page with a cursor instead of reading everything. */
const roundsMax = 32;

export interface SearchQuery {
  /** Part of the file name, in any case. */
  readonly name?: string;
  readonly state?: SymbolState;
  readonly quality?: Quality;
  readonly cursor?: string;
  readonly limit: number;
}

export interface SearchPage {
  readonly items: StoredRecord[];
  readonly nextCursor: string | null;
}

export function memberOf({ fileName, id }: ExecutableRecord): string {
  return `${fileName.toLowerCase()}\0${id}`;
}

/** Finds records. `read` gives the records of IDs; what vanished since it was indexed is left out. */
export async function search(
  store: Store,
  read: (ids: ExecutableId[]) => Promise<(StoredRecord | string)[]>,
  query: SearchQuery,
): Promise<SearchPage | StoreUnavailable> {
  const name = query.name?.toLowerCase() ?? '';
  const items: StoredRecord[] = [];
  let after = query.cursor === undefined ? '' : memberOfCursor(query.cursor);
  for (let round = 0; round < roundsMax; round++) {
    const next = await readRound(store, after);
    if (next instanceof StoreUnavailable) return next;
    const matching = next.members.filter((member) => nameIn(member).includes(name));
    const records = await read(matching.map(idIn));
    for (const [index, record] of records.entries()) {
      if (record instanceof StoredRecord && matches(record.record, query)) items.push(record);
      if (items.length === query.limit) return { items, nextCursor: cursorOf(matching[index]!) };
    }
    if (next.end) return { items, nextCursor: null };
    after = next.members.at(-1) ?? after;
  }
  return { items, nextCursor: cursorOf(after) };
}

// A shard that filled its chunk may have more before another shard's last: only members up to the lowest such end are
// in order over all shards.
async function readRound(store: Store, after: string) {
  const shards = Array.from({ length: shardCount }, (_, shard) => store.scanIndex(shard, after, chunk));
  const read = await Promise.all(shards);
  let horizon: string | undefined;
  const members: string[] = [];
  for (const found of read) {
    if (found instanceof StoreUnavailable) return found;
    members.push(...found);
    const last = found.length === chunk ? found[chunk - 1]! : undefined;
    if (last !== undefined && (horizon === undefined || compareUtf8(last, horizon) < 0)) horizon = last;
  }
  members.sort(compareUtf8);
  if (horizon === undefined) return { members, end: true };
  const bound = horizon;
  return { members: members.filter((member) => compareUtf8(member, bound) <= 0), end: false };
}

function matches(record: ExecutableRecord, { state, quality }: SearchQuery): boolean {
  if (state !== undefined && record.symbols.state !== state) return false;
  return quality === undefined || record.symbols.quality === quality;
}

// The store orders members by their bytes, JavaScript strings by UTF-16 units: they differ beyond the BMP.
function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function nameIn(member: string): string {
  return member.slice(0, member.lastIndexOf('\0'));
}

function idIn(member: string): ExecutableId {
  return member.slice(member.lastIndexOf('\0') + 1) as ExecutableId;
}

function cursorOf(member: string): string {
  return Buffer.from(member).toString('base64url');
}

function memberOfCursor(cursor: string): string {
  const member = Buffer.from(cursor, 'base64url').toString();
  if (!member.includes('\0')) throw invalid('cursor: not one that this server gave');
  parseExecutableId(idIn(member));
  return member;
}
