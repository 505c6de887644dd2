// What this server is: version, epoch, limits, features.
import {
  addressesMax,
  bodyBytesMax,
  decodedBytesMax,
  eventsWaitMsMax,
  framesMax,
  itemsMax,
  pageMax,
} from '@symkeep/protocol';
import { defineOperation } from '../http/operation.ts';
import { infoReply } from '../schemas.ts';

const limits = { itemsMax, addressesMax, framesMax, bodyBytesMax, decodedBytesMax, pageMax, eventsWaitMsMax };
const features = ['executables', 'frames', 'events', 'search', 'debuginfo', 'msgpack', 'gzip', 'zstd'];

export const info = defineOperation({
  summary: 'Version, epoch, limits and features of this server',
  role: 'read',
  reply: infoReply,
  run: ({ catalog, receiver, version }) => ({
    value: {
      ...{ version, epoch: catalog.epoch.current ?? '', features },
      limits: { ...limits, ...receiver.limits },
    },
  }),
});
