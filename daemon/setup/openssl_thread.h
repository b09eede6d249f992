// What OpenSSL keeps for each thread that uses it.
#pragma once

#include <openssl/crypto.h>

namespace lastcall {

// Goes with this, and not with the thread, which may stand by until the process ends: then nobody
// frees it any more.
class OpenSslThread {
 public:
  OpenSslThread() = default;
  OpenSslThread(const OpenSslThread&) = delete;
  OpenSslThread& operator=(const OpenSslThread&) = delete;
  ~OpenSslThread() { OPENSSL_thread_stop(); }
};

}  // namespace lastcall
