#include "lastcall/threads/system_calls.h"

#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "lastcall/threads/descriptor_text.h"
#include "lastcall/threads/thread_sample.h"

namespace lastcall {
namespace {

using On = SystemCall::On;
using OnSignal = SystemCall::OnSignal;

// Those that newer architectures do without have a condition.
constexpr auto kSystemCalls = std::to_array<SystemCall>({
    {SYS_read, "read", On::kDescriptor, OnSignal::kReceives},
    {SYS_readv, "readv", On::kDescriptor, OnSignal::kReceives},
    {SYS_recvfrom, "recv", On::kDescriptor, OnSignal::kReceives},
    {SYS_recvmsg, "recvmsg", On::kDescriptor, OnSignal::kReceives},
    {SYS_accept, "accept", On::kDescriptor, OnSignal::kReceives},
    {SYS_accept4, "accept", On::kDescriptor, OnSignal::kReceives},
    {SYS_wait4, "wait4", On::kNothing, OnSignal::kGoesOn},
    {SYS_waitid, "waitid", On::kNothing, OnSignal::kGoesOn},
    {SYS_futex, "futex", On::kNothing, OnSignal::kFutex},
    // From here on a handler is noticed, or may be.
    {SYS_pread64, "pread", On::kDescriptor, OnSignal::kNoticed},
    {SYS_preadv, "preadv", On::kDescriptor, OnSignal::kNoticed},
    {SYS_write, "write", On::kDescriptor, OnSignal::kNoticed},
    {SYS_writev, "writev", On::kDescriptor, OnSignal::kNoticed},
    {SYS_pwrite64, "pwrite", On::kDescriptor, OnSignal::kNoticed},
    {SYS_pwritev, "pwritev", On::kDescriptor, OnSignal::kNoticed},
    {SYS_sendto, "send", On::kDescriptor, OnSignal::kNoticed},
    {SYS_sendmsg, "sendmsg", On::kDescriptor, OnSignal::kNoticed},
    {SYS_flock, "flock", On::kDescriptor, OnSignal::kNoticed},
    {SYS_recvmmsg, "recvmmsg", On::kDescriptor, OnSignal::kNoticed},
    {SYS_sendmmsg, "sendmmsg", On::kDescriptor, OnSignal::kNoticed},
    {SYS_connect, "connect", On::kDescriptor, OnSignal::kNoticed},
    {SYS_close, "close", On::kDescriptor, OnSignal::kNoticed},
    {SYS_ioctl, "ioctl", On::kDescriptor, OnSignal::kNoticed},
    {SYS_fcntl, "fcntl", On::kDescriptor, OnSignal::kNoticed},
    {SYS_fsync, "fsync", On::kDescriptor, OnSignal::kNoticed},
    {SYS_fdatasync, "fdatasync", On::kDescriptor, OnSignal::kNoticed},
    {SYS_sync_file_range, "sync_file_range", On::kDescriptor, OnSignal::kNoticed},
    {SYS_syncfs, "syncfs", On::kDescriptor, OnSignal::kNoticed},
    {SYS_fallocate, "fallocate", On::kDescriptor, OnSignal::kNoticed},
    {SYS_ftruncate, "ftruncate", On::kDescriptor, OnSignal::kNoticed},
    {SYS_fstat, "fstat", On::kDescriptor, OnSignal::kNoticed},
    {SYS_getdents64, "getdents", On::kDescriptor, OnSignal::kNoticed},
    {SYS_sendfile, "sendfile", On::kDescriptor, OnSignal::kNoticed},
    {SYS_splice, "splice", On::kDescriptor, OnSignal::kNoticed},
    {SYS_tee, "tee", On::kDescriptor, OnSignal::kNoticed},
    {SYS_vmsplice, "vmsplice", On::kDescriptor, OnSignal::kNoticed},
    {SYS_copy_file_range, "copy_file_range", On::kDescriptor, OnSignal::kNoticed},
    {SYS_ppoll, "poll", On::kPoll, OnSignal::kNoticed},
    {SYS_pselect6, "select", On::kSelect, OnSignal::kNoticed},
    {SYS_epoll_pwait, "epoll_wait", On::kEpoll, OnSignal::kNoticed},
#ifdef SYS_epoll_pwait2
    {SYS_epoll_pwait2, "epoll_wait", On::kEpoll, OnSignal::kNoticed},
#endif
    {SYS_openat, "openat", On::kNothing, OnSignal::kNoticed},
    {SYS_newfstatat, "fstatat", On::kNothing, OnSignal::kNoticed},
    {SYS_statx, "statx", On::kNothing, OnSignal::kNoticed},
    {SYS_unlinkat, "unlinkat", On::kNothing, OnSignal::kNoticed},
    {SYS_renameat, "renameat", On::kNothing, OnSignal::kNoticed},
    {SYS_sync, "sync", On::kNothing, OnSignal::kNoticed},
    {SYS_msync, "msync", On::kNothing, OnSignal::kNoticed},
    {SYS_munmap, "munmap", On::kNothing, OnSignal::kNoticed},
    {SYS_mmap, "mmap", On::kNothing, OnSignal::kNoticed},
    {SYS_nanosleep, "nanosleep", On::kNothing, OnSignal::kNoticed},
    {SYS_clock_nanosleep, "clock_nanosleep", On::kNothing, OnSignal::kNoticed},
    {SYS_rt_sigsuspend, "sigsuspend", On::kNothing, OnSignal::kNoticed},
    {SYS_rt_sigtimedwait, "sigtimedwait", On::kNothing, OnSignal::kNoticed},
    {SYS_msgrcv, "msgrcv", On::kNothing, OnSignal::kNoticed},
    {SYS_msgsnd, "msgsnd", On::kNothing, OnSignal::kNoticed},
    {SYS_semop, "semop", On::kNothing, OnSignal::kNoticed},
    {SYS_semtimedop, "semtimedop", On::kNothing, OnSignal::kNoticed},
    {SYS_mq_timedreceive, "mq_receive", On::kDescriptor, OnSignal::kNoticed},
    {SYS_mq_timedsend, "mq_send", On::kDescriptor, OnSignal::kNoticed},
    {SYS_io_getevents, "io_getevents", On::kNothing, OnSignal::kNoticed},
    {SYS_io_uring_enter, "io_uring_enter", On::kDescriptor, OnSignal::kNoticed},
#ifdef SYS_futex_waitv
    {SYS_futex_waitv, "futex_waitv", On::kNothing, OnSignal::kNoticed},
#endif
#ifdef SYS_poll
    {SYS_poll, "poll", On::kPoll, OnSignal::kNoticed},
    {SYS_select, "select", On::kSelect, OnSignal::kNoticed},
    {SYS_epoll_wait, "epoll_wait", On::kEpoll, OnSignal::kNoticed},
    {SYS_pause, "pause", On::kNothing, OnSignal::kNoticed},
    {SYS_open, "open", On::kNothing, OnSignal::kNoticed},
    {SYS_stat, "stat", On::kNothing, OnSignal::kNoticed},
    {SYS_vfork, "vfork", On::kNothing, OnSignal::kNoticed},
#endif
});

// Whether it receives as if nothing had happened. Of files it is unknown: their file system may be a
// program that is told of the signal.
bool Receives(const KernelPlace& place) {
  const int fd = static_cast<int>(place.arguments[0]);
  timeval timeout{};
  socklen_t size = sizeof(timeout);
  if (getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, &size) != 0) {
    if (errno != ENOTSOCK) return false;
    const std::string file = FileOf(fd);
    return file.starts_with("pipe:") || file == "anon_inode:[eventfd]";
  }
  int enough = 1;
  size = sizeof(enough);
  getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &enough, &size);
  // Where it waits for more than it has, it returns with that.
  const uint64_t flags = place.number == SYS_recvfrom  ? place.arguments[3]
                         : place.number == SYS_recvmsg ? place.arguments[2]
                                                       : 0;
  return timeout.tv_sec == 0 && timeout.tv_usec == 0 && enough <= 1 && (flags & MSG_WAITALL) == 0;
}

// A wait with a time-out ends with EINTR, which sem_timedwait(3) hands on to its caller.
bool IsEndlessWait(const KernelPlace& place) {
  const auto command = place.arguments[1] & static_cast<uint64_t>(FUTEX_CMD_MASK);
  return (command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET) && place.arguments[3] == 0;
}

}  // namespace

const SystemCall* FindSystemCall(long number) {
  const auto* const found = std::find_if(kSystemCalls.begin(), kSystemCalls.end(),
                                         [&](const auto& call) { return call.number == number; });
  return found == kSystemCalls.end() ? nullptr : found;
}

bool GoesOnAfterSignal(const KernelPlace& place) {
  // Who waits for memory handles it afterwards: there is no call that could tell.
  if (place.kind == KernelPlace::Kind::kNoCall) return true;
  if (place.kind != KernelPlace::Kind::kCall) return false;
  const SystemCall* const call = FindSystemCall(place.number);
  if (call == nullptr) return false;
  switch (call->on_signal) {
    case OnSignal::kNoticed: return false;
    case OnSignal::kGoesOn: return true;
    case OnSignal::kReceives: return Receives(place);
    case OnSignal::kFutex: return IsEndlessWait(place);
  }
  return false;
}

}  // namespace lastcall
