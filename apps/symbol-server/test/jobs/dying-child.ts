// An extraction child that ends at its first task, as one that the kernel kills.
process.on('message', () => process.kill(process.pid, 'SIGKILL'));
