// ELF virtual addresses: unsigned 64 bit. Outside they are "0x…" in JSON and uint64 in MessagePack; inside they are
// bigint, because a double cannot hold kernel addresses.
import { invalid } from './errors.ts';

export type Address = bigint;

const addressText = /^0x[0-9a-fA-F]{1,16}$/;
const addressMax = 0xffff_ffff_ffff_ffffn;

export function formatAddress(address: Address): string {
  return `0x${address.toString(16)}`;
}

/** Parses `0x…` of 1 to 16 hex digits. Throws `invalid_argument`. */
export function parseAddress(text: string): Address {
  if (!addressText.test(text))
    throw invalid(`address ${JSON.stringify(text.slice(0, 40))} is not 0x and 1 to 16 hex digits`);
  return BigInt(text);
}

/** An address as it may stand in a request: `0x…`, a safe integer, or (MessagePack) a uint64. */
export function isAddress(value: unknown): value is string | number | bigint {
  if (typeof value === 'string') return addressText.test(value);
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0;
  return typeof value === 'bigint' && value >= 0n && value <= addressMax;
}
