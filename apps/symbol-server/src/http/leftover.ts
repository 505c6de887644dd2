// What is left of a body when its reply is sent: of a message that was refused, of a file that nobody wants. A little is
// read and forgotten, so that the connection can be used again. More is not read, since a crowd that is refused would
// cost as much memory as one that is served: the connection ends once the reply has had time to arrive.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '@symkeep/cache';
import { forgetBuffers } from './read-buffers.ts';

/** What one read of a socket may bring. */
const readBytesMax = 64 * 1024;
/** For the reply to arrive, and to be read by a client that is still sending. */
const lingerMs = 1_000;

/** To be called for each request. */
export function dropLeftover(request: IncomingMessage, response: ServerResponse, clock: Clock): void {
  if (request.method === 'GET' || request.method === 'HEAD') return;
  response.once('close', () => {
    if (request.complete || request.destroyed) return;
    const cancel = clock.setTimer(lingerMs, () => request.socket.destroySoon());
    request.once('end', cancel).once('close', () => {
      cancel();
      forgetBuffers(2 * readBytesMax);
    });
    let left = readBytesMax;
    request.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) request.pause();
    });
  });
}
