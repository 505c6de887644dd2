export { type Address, formatAddress, isAddress, parseAddress } from './address.ts';
export { decode, type Encoding, encode, jsonType, messagePackType } from './codec.ts';
export { type ErrorBody, type ErrorCode, HTTP_STATUS, invalid, isErrorCode, SymkeepError } from './errors.ts';
export * from './frames.ts';
export { FramesLookupReader } from './frames-lookup-reader.ts';
export { FramesReplyWriter } from './frames-reply-writer.ts';
export {
  canonicalIdOf,
  type ExecutableId,
  type FileIds,
  gnuId,
  goId,
  htlhashId,
  type IdKind,
  idKeyBytes,
  idKeyOf,
  isGoBuildId,
  isSharedGnuId,
  kindOf,
  parseExecutableId,
  rawIdOf,
} from './ids.ts';
export { LookupReader, readKey } from './lookup-reader.ts';
export * from './messages.ts';
export { scanMessagePack } from './msgpack-scan.ts';
export { compareNames, fileNameOf, nameLengthMax, namesMax } from './names.ts';
export * from './record.ts';
