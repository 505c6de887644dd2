// A child that takes memory beside V8's heap without end, and touches it.
const kept: Uint8Array[] = [];
process.on('message', () => {
  for (;;) kept.push(new Uint8Array(16 * 1024 ** 2).fill(1));
});
