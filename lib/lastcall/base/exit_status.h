// How a process ended.
#pragma once

#include <string>

namespace lastcall {

struct ExitStatus {
  int code = 0;                 // when it ended by itself
  int signal = 0;               // when a signal ended it; 0: none did
  std::string misconduct = {};  // what it was killed for

  bool clean() const { return signal == 0 && code == 0; }
};

// "exit code 1", "killed by SIGSEGV", "killed by lastcalld: it sent a malformed message".
std::string Describe(const ExitStatus& status);

}  // namespace lastcall
