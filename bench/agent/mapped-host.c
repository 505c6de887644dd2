// A host full of processes: forks `processes` of them, each of which maps `each` of the `files` shared objects 0.so … in
// `directory` as code and then sleeps. Prints "ready" when all have; ends, with all of them, when its standard input does.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void map_file(const char *directory, int number) {
  char path[4096];
  struct stat stats;
  snprintf(path, sizeof path, "%s/%d.so", directory, number);
  int fd = open(path, O_RDONLY);
  if (fd < 0 || fstat(fd, &stats) != 0) exit(1);
  if (mmap(NULL, (size_t)stats.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED) exit(1);
  close(fd);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int files = atoi(argv[2]), processes = atoi(argv[3]), each = atoi(argv[4]);
  int ready[2];
  char byte = 0;
  if (files < 1 || pipe(ready) != 0) return 1;
  for (int process = 0; process < processes; process++) {
    pid_t pid = fork();
    if (pid < 0) return 1;
    if (pid > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int file = 0; file < each; file++) map_file(argv[1], (process * each + file) % files);
    if (write(ready[1], &byte, 1) != 1) return 1;
    for (;;) pause();
  }
  for (int process = 0; process < processes; process++)
    if (read(ready[0], &byte, 1) != 1) return 1;
  puts("ready");
  fflush(stdout);
  while (read(0, &byte, 1) > 0) continue;
  return 0;
}
