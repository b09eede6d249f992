// A wall clock that is an hour ahead while the file $JUMPING_CLOCK is there, by LD_PRELOAD: what a
// process sees when somebody sets the clock, without doing it to the machine.
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int result = (int)syscall(SYS_clock_gettime, clock, now);
  const char* const file = getenv("JUMPING_CLOCK");
  if (clock == CLOCK_REALTIME && file != NULL && access(file, F_OK) == 0) now->tv_sec += 3600;
  return result;
}
