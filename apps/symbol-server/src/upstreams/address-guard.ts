// Which addresses a fetch may connect to. A name of an upstream may resolve to anything, and its owner may be hostile:
// a fetch that reached this machine's own services or the inner network would be a hole (SSRF).
import { lookup as systemLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Special purpose ranges that are not the public internet (IANA registries after RFC 6890). */
const notPublic = new BlockList();
for (const [prefix, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  notPublic.addSubnet(prefix, bits, 'ipv4');
}
for (const [prefix, bits] of [
  ['::', 128],
  ['::1', 128],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const) {
  notPublic.addSubnet(prefix, bits, 'ipv6');
}

/** Whether an address, not a name, is of the public internet. IPv4 addresses within IPv6 count as what they are. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return isPublicAddress(mapped);
  // Other spellings of mapped addresses: the list knows them as IPv4.
  return !notPublic.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

export class ForbiddenAddress extends Error {
  override readonly name = 'ForbiddenAddress';
  constructor(host: string, address: string) {
    super(`${host} resolves to ${address}, which is not a public address`);
  }
}

/**
 * Resolves names for a connection, and fails with `ForbiddenAddress` if any of the addresses is not public. Since the
 * connection is made to what was checked, a name that resolves to something else the next moment gains nothing.
 */
export function guardedLookup(resolve: typeof systemLookup = systemLookup): LookupFunction {
  return (host, options, callback) => {
    resolve(host, { ...options, all: true }, (error, found) => {
      const addresses = error === null ? found : [];
      const forbidden = addresses.find(({ address }) => !isPublicAddress(address));
      const failure =
        error ?? (forbidden === undefined ? null : new ForbiddenAddress(host, forbidden.address));
      if (failure !== null) return callback(failure, '', 0);
      if (options.all === true) return callback(null, addresses);
      callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  };
}
