// The command line of lastcalld.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace lastcall {

struct Options {
  std::string config;  // the file; empty with --plugin
  bool check = false;
  std::vector<std::string> plugins;  // --plugin, paths as written
  std::vector<std::string> listen;   // --listen, only together with --plugin
  bool help = false;
  bool version = false;
  std::string text;  // what to print for help or version
};

// Does not look at files. Fails: with one line, what is wrong and the remedy; the exit code is 64.
tl::expected<Options, std::string> Parse(int argc, const char* const* argv);

}  // namespace lastcall
