// Keys for tests: a number in as many bytes as asked for, and back.

export function numberedKey(number: number, bytes = 20): Uint8Array {
  const key = new Uint8Array(bytes);
  for (let i = 0, rest = number; i < bytes && rest > 0; i++, rest = Math.floor(rest / 256)) key[i] = rest;
  return key;
}

export function numberOf(key: Uint8Array): number {
  return key.reduceRight((number, byte) => number * 256 + byte, 0);
}
