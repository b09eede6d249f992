// Loads a configuration that is wrong and gives what its writer is told.
#pragma once

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "temp_folder.h"

namespace lastcall {

using Lines = std::vector<std::string>;

// A server on lines 1 to 3; what comes after begins with its keys.
inline constexpr char kServer[] = R"([server.a]
listen = ["127.0.0.1:1"]
plugins = ["echo"]
)";

class ProblemsTest : public testing::Test {
 protected:
  // The problems, with paths as seen from the folder.
  Lines Problems(const std::string& main) { return ProblemsOf(folder_.Write("m.toml", main)); }
  Lines ProblemsOf(const std::string& file) {
    const auto config = LoadConfig(file);
    if (config) return {"no problem"};
    std::istringstream text(Format(config.error()));
    Lines lines;
    for (std::string line; std::getline(text, line);) {
      const std::string prefix = folder_.path() + "/";
      for (size_t at = line.find(prefix); at != line.npos; at = line.find(prefix, at)) {
        line.erase(at, prefix.size());
      }
      lines.push_back(line);
    }
    return lines;
  }

  TempFolder folder_;
};

}  // namespace lastcall
