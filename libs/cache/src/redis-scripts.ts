// The Lua that runs inside Redis, each script with its one typed caller. Scripts compare and set, nothing
// more: the rules by which records merge stay in TypeScript.
import { createHash } from 'node:crypto';
import type { Argument, Command } from './redis-nodes.ts';
import { listOf, type Reply, textOf } from './redis-reply.ts';
import type { Swap, Swapped } from './store.ts';

/** Where the parts of a shard are. */
export interface ShardKeys {
  readonly epoch: string;
  readonly events: string;
  readonly index: string;
  /** Prefix of the shard's rankings. */
  readonly rankings: string;
}

interface Script {
  readonly source: string;
  readonly digest: string;
}

function script(source: string): Script {
  return { source, digest: createHash('sha1').update(source).digest('hex') };
}

// Compare and set values, each with its event and its index entries; each swap stands for itself. One script
// for many, because a command costs both sides more than a swap does.
//
// KEYS  the epochs of the shards, their events (streams), their indexes (sorted sets); each swap's value; then, in
//       the order of the swaps, keys to keep and keys that leave
// ARGV  1 number of shards · 2 events kept · 3 number of swaps · then for each swap: its form, and what of these
//       the form says it has: field, expected bytes, new bytes, event, index entries to add, index entries to
//       remove, milliseconds until its key leaves
//       A form is four characters, each 48 more than: 1 field + 2 expected + 4 value + 8 event + 16 keep + 32
//       leave · which of the shards, from 0 · entries to add · entries to remove
// result  the epoch of each shard, then for each swap 1 if it happened, else the bytes that are there
//
// Auto-sequence IDs of one fixed "millisecond" count 1, 2, 3 … without a gap: a reader sees any loss.
const swapScript = script(`
local call, band = redis.call, bit.band
local shards, kept, swaps, arg = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), 4
local more = 3 * shards + swaps
local function take(given)
  if not given then return false end
  arg = arg + 1
  return ARGV[arg - 1]
end
local result = call('MGET', unpack(KEYS, 1, shards))
for n = 1, swaps do
  local key = KEYS[3 * shards + n]
  local has, shard, adds, removes = string.byte(take(true), 1, 4)
  has, shard, adds, removes = has - 48, shard - 47, adds - 48, removes - 48
  local field, expected = take(band(has, 1) ~= 0), take(band(has, 2) ~= 0)
  local value, event = take(band(has, 4) ~= 0), take(band(has, 8) ~= 0)
  local keep, leave = band(has, 16) ~= 0, band(has, 32) ~= 0
  local current
  if field then current = call('HGET', key, field) else current = call('GET', key) end
  if current ~= expected then
    result[shards + n] = current
    arg = arg + adds + removes + (leave and 1 or 0)
  else
    if value then
      if field then call('HSET', key, field, value) else call('SET', key, value) end
    elseif current then
      if field then call('HDEL', key, field) else call('DEL', key) end
    end
    for _ = 1, adds do call('ZADD', KEYS[2 * shards + shard], 0, take(true)) end
    for _ = 1, removes do call('ZREM', KEYS[2 * shards + shard], take(true)) end
    if keep then call('PERSIST', KEYS[more + 1]) end
    if leave then call('PEXPIRE', KEYS[more + (keep and 2 or 1)], take(true)) end
    if event then call('XADD', KEYS[shards + shard], 'MAXLEN', '~', kept, '0-*', 'e', event) end
    result[shards + n] = 1
  end
  more = more + (keep and 1 or 0) + (leave and 1 or 0)
end
return result
`);

/** Index entries of one swap, each way: a form has one character for them. */
const indexEntriesMax = 64;
const formBase = 48;

/** A swap with the full names of its keys. */
export interface NamedSwap {
  readonly swap: Swap;
  readonly key: string;
  /** Those that are kept and that leave, in this order. */
  readonly more: readonly string[];
}

/** The command for many swaps. `shards` are theirs, each once. */
export function swapCommand(
  swaps: readonly NamedSwap[],
  shards: readonly number[],
  keysOf: (shard: number) => ShardKeys,
  eventsKept: number,
): Command {
  const parts = shards.map(keysOf);
  const keys = [
    parts.map(({ epoch }) => epoch),
    parts.map(({ events }) => events),
    parts.map(({ index }) => index),
  ].flat();
  const args: Argument[] = [shards.length, eventsKept, swaps.length];
  keys.push(...swaps.map(({ key }) => key), ...swaps.flatMap(({ more }) => more));
  for (const { swap } of swaps) pushSwap(args, swap, shards.indexOf(swap.at.shard));
  return command(shards[0]!, swapScript, [keys.length, ...keys, ...args]);
}

function pushSwap(args: Argument[], swap: Swap, shard: number): void {
  const { at, expected, value, event, index, keep, leave } = swap;
  const add = index?.add ?? [];
  const remove = index?.remove ?? [];
  if (Math.max(add.length, remove.length) > indexEntriesMax) {
    throw new RangeError(
      `a swap of ${add.length} + ${remove.length} index entries; at most ${indexEntriesMax} each way`,
    );
  }
  const form = args.push('') - 1;
  let has = 0;
  if (at.field !== undefined) {
    has = 1;
    args.push(at.field);
  }
  for (const [i, bytes] of [expected, value, event ?? null].entries()) {
    if (bytes === null) continue;
    has |= 2 << i;
    args.push(asBuffer(bytes));
  }
  if (keep !== undefined) has |= 16;
  if (leave !== undefined) has |= 32;
  args[form] = String.fromCharCode(...[has, shard, add.length, remove.length].map((part) => formBase + part));
  args.push(...add, ...remove);
  if (leave !== undefined) args.push(leave.ms);
}

/** The outcomes of the swaps of a command, in order. */
export function swappedOf(
  reply: Reply,
  swaps: readonly { readonly swap: Swap }[],
  shards: readonly number[],
): Swapped[] {
  const parts = listOf(reply);
  const epochs = shards.map((_, i) => (parts[i] === null ? null : textOf(parts[i])));
  return swaps.map(({ swap }, n) => {
    const outcome = parts[shards.length + n];
    const epoch = epochs[shards.indexOf(swap.at.shard)]!;
    if (outcome === 1) return { swapped: true, epoch };
    return { swapped: false, current: outcome instanceof Uint8Array ? outcome : null, epoch };
  });
}

// Set a shard's epoch value if it is still the expected one.
//
// KEYS  1 epoch
// ARGV  1 "1" if a value is expected, "0" if none · 2 expected value · 3 new value
// result  1 if it is now the new value · 0 if not
const epochScript = script(`
local current = redis.call('GET', KEYS[1])
if current == ARGV[3] then return 1 end
if current ~= (ARGV[1] == '1' and ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
return 1
`);

export function swapEpochCommand(
  shard: number,
  key: string,
  expected: string | null,
  value: string,
): Command {
  return command(shard, epochScript, [1, key, expected === null ? 0 : 1, expected ?? '', value]);
}

// Add to scores in one ranking. In a full one a new member takes the place and the score of the lowest.
//
// KEYS  1 the ranking (sorted set)
// ARGV  1 most members · then for each rise: member, by
// result  the new scores, as texts
const raiseScript = script(`
local call, key, most = redis.call, KEYS[1], tonumber(ARGV[1])
local scores = {}
for n = 2, #ARGV, 2 do
  local member, by = ARGV[n], ARGV[n + 1]
  if not call('ZSCORE', key, member) and call('ZCARD', key) >= most then
    local lowest = call('ZPOPMIN', key)
    call('ZADD', key, lowest[2], member)
  end
  scores[#scores + 1] = call('ZINCRBY', key, by, member)
end
return scores
`);

export function raiseCommand(
  shard: number,
  key: string,
  rises: readonly { readonly member: string; readonly by: number }[],
  membersMax: number,
): Command {
  const pairs = rises.flatMap(({ member, by }) => [member, by]);
  return command(shard, raiseScript, [1, key, membersMax, ...pairs]);
}

function command(shard: number, { digest, source }: Script, args: readonly Argument[]): Command {
  return { shard, name: 'evalsha', args: [digest, ...args], script: source };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
