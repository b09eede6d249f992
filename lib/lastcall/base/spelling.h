// The word that somebody probably meant, for messages about names that are not known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lastcall {

// The one of `known` that is nearest to `word`, two swapped letters counted as one mistake; empty
// when none is near.
std::string NearestWord(std::string_view word, const std::vector<std::string>& known);

// What to say after "unknown …; ": `did you mean "listen"?`, or `known are listen and plugins` when
// nothing is near, or `none is known here`.
std::string SpellingHint(std::string_view word, const std::vector<std::string>& known);

}  // namespace lastcall
