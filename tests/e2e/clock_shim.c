// Preloaded into the agent: the wall clock is off by what a file says (nanoseconds, 8 bytes, shared memory), the
// monotonic clocks are as they are. The machine's own clock stays untouched.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t* offset;

__attribute__((constructor)) static void attach(void) {
  const char* path = getenv("DECKLOG_TEST_CLOCK");
  const int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void* memory = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (memory != MAP_FAILED) offset = memory;
}

int clock_gettime(clockid_t id, struct timespec* time) {
  const int failed = (int)syscall(SYS_clock_gettime, id, time);
  if (failed || id != CLOCK_REALTIME || !offset) return failed;
  const int64_t now = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + *offset;
  time->tv_sec = now / 1000000000;
  time->tv_nsec = now % 1000000000;
  return 0;
}
