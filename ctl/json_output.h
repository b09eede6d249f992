// What --json prints: {"api_version":"lastcall/v1","kind":…,…}, one line.
#pragma once

#include <google/protobuf/message.h>

#include <set>
#include <string>
#include <string_view>

namespace lastcall {

// The fields of `message` but those called `without`, by the names of its .proto; values of enumerations
// and codes of statuses as their words.
std::string ToJson(const google::protobuf::Message& message,
                   const std::set<std::string_view>& without = {});

// Puts api_version and kind before the fields of `object`, a JSON object.
std::string WithKind(std::string_view kind, std::string_view object);

// One object with the fields of both.
std::string Splice(std::string first, std::string_view second);

}  // namespace lastcall
