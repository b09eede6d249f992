// A name service that never answers for users, by LD_PRELOAD.
#include <pwd.h>
#include <unistd.h>

int getpwuid_r(uid_t uid, struct passwd* entry, char* buffer, size_t size, struct passwd** found) {
  (void)uid, (void)entry, (void)buffer, (void)size;
  *found = NULL;
  for (;;) pause();
}
