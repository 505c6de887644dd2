// A child that ends with a code, and says why.
process.on('message', () => {
  process.stderr.write('gave up\n', () => process.exit(3));
});
