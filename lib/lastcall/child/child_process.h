// A child process from its start to its end: who it is, the end of what it wrote, and how it ended.
// It waits for nothing by itself, so that a loop of any kind can watch its descriptors.
//
//   auto child = ChildProcess::Start({.program = path, .arguments = {path}}, {.keep_output = 4096});
//   … when output_fd() is readable:  child->ReadOutput();
//   … when exited_fd() is readable:  const ChildEnd end = child->Finish();  // end.output.Line()
#pragma once

#include <sys/types.h>

#include <cstddef>

#include <lastcall/base/exit_status.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/child/output_tail.h>
#include <lastcall/child/spawn.h>

namespace lastcall {

struct ChildOptions {
  // So many bytes are kept of what it writes to standard output and error, the last ones; 0: it
  // writes to ours.
  size_t keep_output = 0;
};

struct ChildEnd {
  ExitStatus status;
  OutputTail output;
};

class ChildProcess {
 public:
  // Fails: kInternal, with the program; see Spawn.
  static Result<ChildProcess> Start(Command command, const ChildOptions& options = {});
  // One that the build before this one has started. What it writes is not read.
  static ChildProcess Adopt(Child child);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  // Does nothing to a child that was not finished: it goes on, and ReapOrphan waits for its end.
  ~ChildProcess();

  // 0: it was finished.
  pid_t pid() const { return pid_; }
  // Readable when it has ended. Open until this is destroyed.
  int exited_fd() const { return exited_.get(); }
  // Readable when there is something to read. -1: nothing more is coming, or nothing is kept.
  int output_fd() const { return output_over_ ? -1 : output_.get(); }

  // Reads what is there, as much as a pipe holds: who never ends to speak does not keep others from
  // their turn.
  void ReadOutput();
  // With all that it has started, but for those who left its group.
  void Kill();
  // Kills it, or what it leaves behind, and reads the rest of its output, as ReadOutput does.
  // Blocks: until it has ended; not at all once exited_fd() is readable. Order: once.
  ChildEnd Finish();

 private:
  ChildProcess(Child child, UniqueFd output, size_t keep_output);

  pid_t pid_;
  UniqueFd exited_;
  UniqueFd output_;  // open to the end, so that its number cannot be another's while it is watched
  bool output_over_ = false;
  OutputTail tail_;
};

}  // namespace lastcall
