// A plugin's own section of the configuration. Every key must be read: the ones that nobody asked
// for are refused with their file and line, for they are spelling mistakes.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lastcall/base/clock.h>

namespace lastcall {

// Thrown by the getters below, with place and remedy in what(). A plugin lets it pass.
class ConfigError : public std::exception {
 public:
  explicit ConfigError(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// Threads: any.
class PluginConfig {
 public:
  using StringList = std::vector<std::string>;
  struct Value {
    std::variant<std::string, int64_t, double, bool, StringList> value;
    std::string file;  // empty: from the command line
    uint32_t line = 0;
  };

  PluginConfig() = default;
  // `section` is its name for messages, "server.public.config.echo". Keys of nested tables are
  // joined by dots: "upstream.host".
  PluginConfig(std::string section, std::map<std::string, Value, std::less<>> values)
      : section_(std::move(section)), values_(std::move(values)) {}

  // The value, or `otherwise` where the key is absent. Fails: throws ConfigError when the type is
  // another, or, for those without `otherwise`, when it is absent.
  std::string String(std::string_view key) const;
  std::string String(std::string_view key, std::string otherwise) const;
  int64_t Integer(std::string_view key) const;
  int64_t Integer(std::string_view key, int64_t otherwise) const;
  double Number(std::string_view key) const;  // an integer will do; never NaN
  double Number(std::string_view key, double otherwise) const;
  bool Boolean(std::string_view key, bool otherwise) const;
  lastcall::Duration Duration(std::string_view key) const;  // a string with a unit: "250ms"
  lastcall::Duration Duration(std::string_view key, lastcall::Duration otherwise) const;
  StringList Strings(std::string_view key) const;  // absent: empty
  bool Has(std::string_view key) const;            // does not count as reading it

  // For a value that has the right type and is wrong all the same:
  // throw config.Refuse("port", "must be below 65536").
  ConfigError Refuse(std::string_view key, std::string_view why) const;

  // One message for each key that nobody read, in the order of the file:
  // `lastcalld.toml:12: unknown key server.public.config.echo.greetng; did you mean "greeting"?`.
  std::vector<std::string> Unread() const;
  // The same for a Check, which may leave keys to the constructor: one message for each that it did
  // not read. None where it read nothing at all, for such a one says nothing about keys.
  std::vector<std::string> Unchecked() const;

 private:
  // The keys that were requested, present or not. A copy of a configuration begins with what its
  // original knew.
  class Asked {
   public:
    Asked() = default;
    Asked(const Asked& other) : keys_(other.Keys()) {}
    Asked& operator=(const Asked& other);
    void Add(std::string_view key);
    std::set<std::string, std::less<>> Keys() const;

   private:
    mutable std::mutex mutex_;
    std::set<std::string, std::less<>> keys_;
  };

  using Keys = std::set<std::string, std::less<>>;

  const Value* Find(std::string_view key) const;
  std::vector<std::string> NotAmong(const Keys& asked, const std::string& before,
                                    const std::string& after) const;
  template <class T>
  const T* Get(std::string_view key, std::string_view expected) const;
  ConfigError Unsuitable(std::string_view key, const Value& value, std::string_view expected) const;
  ConfigError Missing(std::string_view key, std::string_view example) const;

  std::string section_;
  std::map<std::string, Value, std::less<>> values_;
  mutable Asked asked_;
};

}  // namespace lastcall
