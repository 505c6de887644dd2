// A child that never answers, and hears nothing any more.
process.on('message', () => {
  for (;;);
});
