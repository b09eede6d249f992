// TLS of a server: its certificate and key, and whom it asks for theirs. Read and checked here, for
// gRPC starts with bad ones all the same, and lets its clients hang.
#pragma once

#include <string>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>

namespace lastcall {

class Trust;

// Paths of PEM files.
struct TlsFiles {
  std::string certificate;  // the server's own first, then those between it and the authority
  std::string key;          // of the first; not encrypted
  std::string client_ca;    // clients must show a certificate that one of these signed; empty: none
};

// What is in them.
struct TlsMaterial {
  std::string certificate;
  std::string key;
  std::string client_ca;
  WallTime begins{};  // when the server's certificate is valid
  WallTime expires{};
};

// Whether its time has not come, or is over: that is worth a warning, and served all the same.
bool IsExpired(const TlsMaterial& tls, WallTime now);

// With `trust`, files that others can change are refused; what is read is what was looked at.
// Blocks: reads the files.
// Fails: kNotFound, kPermissionDenied (a file cannot be read), kInvalidArgument (it is not what it
// should be; the key is not the certificate's), kFailedPrecondition (it is not trusted), with the file
// and the remedy.
Result<TlsMaterial> LoadTls(const TlsFiles& files, const Trust* trust = nullptr);

}  // namespace lastcall
