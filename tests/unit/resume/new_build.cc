// Stands for a new build of lastcalld that is asked to prove itself: says its word, or another.
#include <unistd.h>

#include <string_view>

#include "daemon/handover/reexec.h"

int main(int argc, char** argv) {
  const auto taken = lastcall::TakeState();
  if (!taken || !*taken || argc < 2) return 70;
  std::string word = (*taken)->proof;
  const std::string_view wish = argv[1];
  if (wish == "more") word += "!";
  if (wish == "less") word.pop_back();
  if (wish == "other") word.front() ^= 1;
  const ssize_t size = write((*taken)->state.proof().fd(), word.data(), word.size());
  return size == static_cast<ssize_t>(word.size()) ? 0 : 70;
}
