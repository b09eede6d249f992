// LineWriter: whole lines into a descriptor that other processes write to as well.
#pragma once

#include <string_view>

namespace lastcall {

// The shell, children and our own hosts share standard output and error with us: O_NONBLOCK would
// be set for all of them, and what one write(2) does not take at once may end up in the middle of
// their lines. So it waits for room first, and then writes no more than a pipe takes in one piece.
class LineWriter {
 public:
  explicit LineWriter(int fd) : fd_(fd) {}

  // `head` stands before the line; again before each further part of one that is too long for a
  // pipe (PIPE_BUF). Files and terminals take any line in one piece.
  // Blocks: for as long as the descriptor takes nothing.
  // Threads: any, one at a time.
  // Returns whether it was taken: not by a pipe without a reader, nor by a disk without room.
  bool Write(std::string_view head, std::string_view text) const;

 private:
  const int fd_;
};

}  // namespace lastcall
