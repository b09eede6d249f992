// The manifest of a plugin: what it was built with and what it brings, read from its file without
// loading it, so that what does not fit is refused field by field and never crashes.
//
//   Result<Manifest> manifest = ReadManifest("/usr/lib/lastcall/plugins/echo.so");
//   for (const std::string& line : Mismatches(*manifest, HostManifest())) …
#pragma once

#include <lastcall/base/result.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lastcall {

struct Manifest {
  using Names = std::vector<std::string>;

  std::string path;  // as given to ReadManifest
  uint32_t abi = 0;
  std::string name;        // given to lastcall_add_plugin()
  std::string version;     // given to LASTCALL_PLUGIN; empty until the plugin is loaded
  std::string compiler;    // "12.2.0"
  uint32_t libstdcxx = 0;  // its release: 12
  bool cxx11_abi = true;   // libstdc++'s: the std::string of C++11 or the one before
  std::string grpc;        // "1.51.1"
  std::string protobuf;    // "3.21.12"
  std::string sanitizer;   // "none", "address" or "thread"
  std::string build_id;    // hexadecimal; empty where it was linked without
  Names services;          // "shop.Prices", brought by it
  Names symbols;           // all that its .proto files define at top level, services included
  Names files;             // .proto files brought by it
  Names needed_files;      // .proto files that they import and that come from elsewhere
};

// Reads the notes of a shared object for this machine; `path` may be anything, a hostile file too.
// Fails: with the path and what it is instead of a plugin.
Result<Manifest> ReadManifest(const std::string& path);

// What this program is: the host in the comparison below. It brings no services.
Manifest HostManifest();

// Why `plugin` cannot be loaded by `host`, one line for each field that differs: "built for
// protobuf 3.21.12, this host runs 4.25.1". Empty: it fits. ABI, protobuf, std::string and
// sanitizer must be equal, gRPC in major and minor; libstdc++ must not be newer than the host's.
// The compiler does not matter.
std::vector<std::string> Mismatches(const Manifest& plugin, const Manifest& host);

// Why these plugins, each with its configured name, cannot be in one process, one line for each
// pair: they bring the same .proto file, or files that define the same names. protobuf would abort.
// Manifests of one path are the same plugin and do not clash.
std::vector<std::string> Clashes(const std::vector<std::pair<std::string, Manifest>>& plugins);

namespace internal {

// Fills in the fields that the text of a manifest note has. Fails: kDataLoss, what is missing or
// bad.
Result<> ParseManifestText(std::string_view text, Manifest* manifest);

}  // namespace internal
}  // namespace lastcall
