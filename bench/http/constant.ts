// The peer that no server in Node can pass: node:http alone, answering a constant of the size given.
import { createServer } from 'node:http';

const body = Buffer.alloc(Number(process.argv[2]), 0x20);
const server = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(typeof address === 'object' && address !== null ? address.port : '');
});
