// A pipe, closed with the test.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include <lastcall/base/unique_fd.h>

namespace lastcall {

struct PipeEnds {
  UniqueFd reader, writer;

  PipeEnds() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    reader.Reset(ends[0]);
    writer.Reset(ends[1]);
  }
  // Ends a read that waits.
  void Release() const {
    if (write(writer.get(), "x", 1) != 1) std::abort();
  }
  ssize_t WaitForByte() const {
    char byte;
    return read(reader.get(), &byte, 1);
  }
};

}  // namespace lastcall
