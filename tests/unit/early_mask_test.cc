// Programs that link the early mask have the signals blocked before any library's initialisers run.
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace lastcall {
namespace {

// The exit code of `program`, started with no signal blocked.
int ExitCodeOf(const char* program) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  char* const arguments[] = {const_cast<char*>(program), nullptr};
  pid_t pid = 0;
  EXPECT_EQ(posix_spawn(&pid, program, nullptr, &attributes, arguments, environ), 0) << program;
  posix_spawnattr_destroy(&attributes);
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(EarlyMaskTest, SignalsAreBlockedBeforeStaticInitialisersRun) {
  EXPECT_EQ(ExitCodeOf(LASTCALL_MASKED_PROBE), 0);
}

// The same program without the mask: so that the test above can fail.
TEST(EarlyMaskTest, WithoutItTheyAreNot) { EXPECT_EQ(ExitCodeOf(LASTCALL_UNMASKED_PROBE), 1); }

}  // namespace
}  // namespace lastcall
