// A library whose initialiser returns when it is let.
#include <unistd.h>

#include <cstdlib>

namespace {

const bool initialised = [] {
  char byte;
  return read(std::atoi(std::getenv("LASTCALL_TEST_WAIT_FOR")), &byte, 1) == 1;
}();

}  // namespace
