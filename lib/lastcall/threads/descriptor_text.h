// What a descriptor of this process is: "tcp 10.0.0.5:5432", "unix /run/x.sock", "/var/lib/file",
// "pipe", "eventfd".
#pragma once

#include <string>
#include <vector>

namespace lastcall {

struct KernelPlace;

// Safe to show, and bounded. Empty: it is not open. Asks the kernel alone, never a file system,
// which might not answer. Other threads may close and reuse the number at any time: what is said was
// true of one and the same file. Threads: any.
std::string DescribeFd(int fd);

// What /proc/self/fd says of it: "socket:[4711]", "/var/lib/file". As it is, not made safe. Empty:
// it is not open, or /proc is missing.
std::string FileOf(int fd);

// The descriptors that the system call at `place` waits for, at most so many; empty: none, or they
// cannot be found. What poll and select were given is read from the memory of the thread that
// waits, and what an epoll holds is asked of the kernel, to the best of both.
std::vector<int> DescriptorsOf(const KernelPlace& place, size_t most = 8);

}  // namespace lastcall
