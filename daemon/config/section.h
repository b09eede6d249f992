// Reads TOML tables key by key. Every value is checked for its type and range, every problem has
// the place of the value, and keys that no one requested are problems too.
//
//   Section shutdown = root.Table("shutdown");
//   shutdown.Length("delay", {}, config.shutdown.delay);   // absent: the default stays
//   shutdown.Close();                                      // names the keys that are unknown
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <toml++/toml.h>

#include "daemon/config/problems.h"

namespace lastcall {

// Longer than anything meant seriously, and far from where arithmetic on instants ends.
inline constexpr Duration kLongest = std::chrono::hours(24 * 365);

struct LengthRange {
  Duration least = Duration::zero();
  Duration most = kLongest;
  bool zero = false;      // allowed too, below `least`
  bool infinity = false;  // allowed too
};

SourceLocation LocationOf(const toml::source_region& source);

struct LocatedText {
  std::string text;
  SourceLocation location;
};

class Section {
 public:
  // `path` is its name for messages: "server.public"; empty for the root. `table` and `problems`
  // must outlive the section.
  Section(const toml::table& table, std::string path, Problems& problems)
      : table_(table), path_(std::move(path)), problems_(problems) {}

  const std::string& path() const { return path_; }
  SourceLocation location() const { return LocationOf(table_.source()); }
  // "server.public.listen".
  std::string NameOf(std::string_view key) const;
  // Of the value; of the section where it is absent.
  SourceLocation LocationOfValue(std::string_view key) const;
  // In the order of the files.
  std::vector<std::string> Keys() const;
  bool Has(std::string_view key) const { return table_.contains(key); }
  bool Has(std::string_view key, std::string_view inner) const;  // in the table `key`
  void Refuse(std::string_view key, const std::string& why);

  // Each reads one key into `out` and leaves it alone when the key is absent or wrong.
  void Boolean(std::string_view key, bool& out);
  void Integer(std::string_view key, int64_t least, int64_t most, uint32_t& out);
  void Bytes(std::string_view key, uint64_t most, uint64_t& out);  // an integer, or "4MiB"
  void Length(std::string_view key, const LengthRange& range, Duration& out);
  void Text(std::string_view key, std::string& out);
  template <class T>
  void Choice(std::string_view key, const std::vector<std::pair<std::string, T>>& choices, T& out);

  // The entries that are texts; empty: absent, or no array. `example` is what the array may look
  // like. With `when_empty`, what is missing then, at least one entry is needed.
  std::optional<std::vector<LocatedText>> Texts(std::string_view key, std::string_view example,
                                                std::string_view when_empty = {});
  // An empty one where it is absent or wrong.
  Section Table(std::string_view key);
  // A table whose keys are not ours to check; null: absent or wrong.
  const toml::table* Foreign(std::string_view key);
  // A key of the contract that cannot be had yet.
  void Unsupported(std::string_view key, std::string_view remedy);

  // Order: last. Names the keys that were not read.
  void Close();

 private:
  const toml::node* Find(std::string_view key);
  void ExpectedBut(std::string_view key, std::string_view expected, const toml::node& found,
                   const std::string& remedy);
  // The position in `names`, or nothing, and then it has been said.
  std::optional<size_t> ChosenFrom(std::string_view key, const std::vector<std::string>& names);

  const toml::table& table_;
  std::string path_;
  Problems& problems_;
  std::vector<std::string> known_;
};

template <class T>
void Section::Choice(std::string_view key, const std::vector<std::pair<std::string, T>>& choices,
                     T& out) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) names.push_back(name);
  if (const auto chosen = ChosenFrom(key, names)) out = choices[*chosen].second;
}

// "a string", "an integer", "a table" …
std::string_view TypeName(const toml::node& node);
// "public", or "\"my server\"" when it needs quotes as a key.
std::string KeyText(std::string_view key);

}  // namespace lastcall
