// A child that takes memory of V8's heap without end.
const kept: object[] = [];
process.on('message', () => {
  for (;;) kept.push({ next: kept.length, text: `text ${kept.length}` });
});
