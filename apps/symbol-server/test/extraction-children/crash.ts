// A child that a bug in native code ends.
process.on('message', () => process.kill(process.pid, 'SIGSEGV'));
