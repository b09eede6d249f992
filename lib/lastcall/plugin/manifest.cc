#include "lastcall/plugin/manifest.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <unordered_set>

#include "lastcall/base/safe_text.h"
#include "lastcall/plugin/manifest_note.h"

namespace grpc {
std::string Version();  // as in grpcpp/grpcpp.h, which takes seconds to compile
}

namespace lastcall {
namespace {

constexpr internal::NoteText kHostText = internal::ManifestText("");

// The lines of a manifest's text. Unknown keys are of a later version.
class TextFields {
 public:
  explicit TextFields(std::string_view text) {
    while (!text.empty()) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      const size_t equals = line.find('=');
      // Values go into logs.
      if (equals == line.npos || !IsSafeText(line)) {
        Note("has a line that is not key=value");
      } else {
        values_.emplace(line.substr(0, equals), line.substr(equals + 1));
      }
    }
  }

  std::string Text(std::string_view key) {
    const auto value = values_.find(key);
    if (value != values_.end()) return std::string(value->second);
    Note("lacks " + std::string(key));
    return "";
  }

  uint32_t Number(std::string_view key) {
    const std::string text = Text(key);
    uint32_t number = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    if (parsed.ec != std::errc() || parsed.ptr != end) Note("has a bad " + std::string(key));
    return number;
  }

  const std::string& problem() const { return problem_; }  // the first

 private:
  void Note(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }

  std::map<std::string_view, std::string_view> values_;
  std::string problem_;
};

// "1.51" of "1.51.1".
std::string_view MajorMinor(std::string_view version) {
  const size_t dot = version.find('.');
  return dot == version.npos ? version : version.substr(0, version.find('.', dot + 1));
}

std::string StringAbi(bool cxx11) {
  return cxx11 ? "the std::string of C++11" : "the std::string of before C++11";
}

std::string Sanitizer(const std::string& kind) {
  return kind == "none" ? "no sanitizer" : "the " + kind + " sanitizer";
}

// "a.proto", "a.proto and b.proto", "a.proto, b.proto and 7 more".
std::string Enumerate(const std::vector<std::string>& names) {
  if (names.size() == 1) return names[0];
  if (names.size() == 2) return names[0] + " and " + names[1];
  return names[0] + ", " + names[1] + " and " + std::to_string(names.size() - 2) + " more";
}

std::vector<std::string> Common(const std::vector<std::string>& a,
                                const std::vector<std::string>& b) {
  const std::unordered_set<std::string_view> known(b.begin(), b.end());
  std::vector<std::string> common;
  std::copy_if(a.begin(), a.end(), std::back_inserter(common),
               [&](const std::string& name) { return known.contains(name); });
  return common;
}

using NamedManifest = std::pair<std::string, Manifest>;

// Empty: they can live together.
std::string Clash(const NamedManifest& a, const NamedManifest& b) {
  if (a.second.path == b.second.path) return "";
  const auto files = Common(a.second.files, b.second.files);
  const auto symbols = Common(a.second.symbols, b.second.symbols);
  if (files.empty() && symbols.empty()) return "";
  const bool same_name = a.first == b.first;
  const auto called = [&](const NamedManifest& plugin) {
    return plugin.first + (same_name ? " (" + plugin.second.path + ")" : "");
  };
  return "plugins " + called(a) + " and " + called(b) + " both " +
         (files.empty() ? "define " + Enumerate(symbols) : "bring " + Enumerate(files)) +
         ", which one process can have only once; give the server of one of them another process "
         "(process = \"…\"), or build it once, for both, with lastcall_add_protos(… SHARED)";
}

}  // namespace

Result<> internal::ParseManifestText(std::string_view text, Manifest* manifest) {
  TextFields fields(text);
  manifest->abi = fields.Number("abi");
  manifest->name = fields.Text("name");
  manifest->compiler = fields.Text("compiler");
  manifest->libstdcxx = fields.Number("libstdcxx");
  manifest->cxx11_abi = fields.Number("cxx11_abi") != 0;
  manifest->grpc = fields.Text("grpc");
  manifest->protobuf = fields.Text("protobuf");
  manifest->sanitizer = fields.Text("sanitizer");
  if (!fields.problem().empty()) return Fail(Code::kDataLoss, "its manifest " + fields.problem());
  return {};
}

Manifest HostManifest() {
  Manifest host;
  // It cannot fail: the same compiler wrote it. The gRPC that runs may be newer than its headers.
  static_cast<void>(internal::ParseManifestText(kHostText.view(), &host));
  host.grpc = grpc::Version();
  return host;
}

std::vector<std::string> Mismatches(const Manifest& plugin, const Manifest& host) {
  std::vector<std::string> lines;
  const auto differs = [&](const std::string& built, const std::string& runs) {
    lines.push_back("built " + built + ", this host " + runs);
  };
  if (plugin.abi != host.abi) {
    differs("for plugin ABI " + std::to_string(plugin.abi), "has " + std::to_string(host.abi));
  }
  if (MajorMinor(plugin.grpc) != MajorMinor(host.grpc)) {
    differs("for gRPC " + plugin.grpc, "runs " + host.grpc);
  }
  if (plugin.protobuf != host.protobuf) {
    differs("for protobuf " + plugin.protobuf, "runs " + host.protobuf);
  }
  if (plugin.cxx11_abi != host.cxx11_abi) {
    differs("with " + StringAbi(plugin.cxx11_abi), "has " + StringAbi(host.cxx11_abi));
  }
  if (plugin.libstdcxx > host.libstdcxx) {
    differs("with libstdc++ " + std::to_string(plugin.libstdcxx),
            "has the older " + std::to_string(host.libstdcxx));
  }
  if (plugin.sanitizer != host.sanitizer) {
    differs("with " + Sanitizer(plugin.sanitizer), "has " + Sanitizer(host.sanitizer));
  }
  return lines;
}

std::vector<std::string> Clashes(const std::vector<std::pair<std::string, Manifest>>& plugins) {
  std::vector<std::string> lines;
  for (size_t a = 0; a < plugins.size(); ++a) {
    for (size_t b = a + 1; b < plugins.size(); ++b) {
      std::string line = Clash(plugins[a], plugins[b]);
      if (!line.empty()) lines.push_back(std::move(line));
    }
  }
  return lines;
}

}  // namespace lastcall
