// Executing another build of lastcalld in place: same pid, same children, same sockets. What the new
// one has to know travels in a memfd, whose number is in its environment.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lastcall/state/v1/state.pb.h"

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

// How this process was started.
struct ProgramImage {
  std::string program;                 // absolute path
  std::vector<std::string> arguments;  // the program's name first
};

// The argument that makes a new build prove itself; see ResumeCheck.
inline constexpr char kResumeCheck[] = "--resume-check";

// Opens the file at the program's path when its content is not what runs. Empty: it is the same.
// Blocks: reads both where they are two files. Fails: kFailedPrecondition, others could have put it
// there; otherwise, it cannot be read.
Result<std::optional<UniqueFd>> OpenAnotherBuild(const std::string& program);

// The state as a descriptor to hand on, and the entry of the environment that goes with it.
Result<UniqueFd> Pack(const state::v1::State& state);
std::string ResumeEntry(int state);

struct Taken {
  state::v1::State state;
  std::string proof;  // see ProofOf
};
// What an earlier life of this process handed on; empty: there was none. Takes it out of the
// environment. Fails: kFailedPrecondition, it is too new for this build, or damaged.
Result<std::optional<Taken>> TakeState();

// What only a build of lastcalld knows, and only of this state: a digest of its bytes, which have a
// nonce in them, and of a word of ours. Empty: it cannot be read.
std::string ProofOf(int state);

// What of a file changes when its content does; by descriptor.
struct Stamp {
  int64_t size = 0;
  int64_t modified_ns = 0;
  bool operator==(const Stamp&) const = default;
};
Stamp StampOf(int file);

// Becomes the program that was opened as `binary`; the descriptors stay open. Returns only when that
// failed, and then nothing has changed.
// `variables`: what else its environment has (SystemdNotifier::Environment).
Error Execute(int binary, const ProgramImage& image, int state, const std::vector<int>& descriptors,
              const std::vector<std::string>& variables);

}  // namespace lastcall
