#include "lastcall/threads/profile.h"

#include <algorithm>
#include <map>
#include <memory>

namespace lastcall {
namespace {

struct Node {
  size_t count = 0;
  std::map<std::string, std::unique_ptr<Node>> callees;
};

using Callee = std::pair<const std::string, std::unique_ptr<Node>>;

// The most frequent first; of the same count, by name.
std::vector<const Callee*> Sorted(const Node& node) {
  std::vector<const Callee*> callees;
  for (const Callee& callee : node.callees) callees.push_back(&callee);
  std::stable_sort(callees.begin(), callees.end(), [](const Callee* a, const Callee* b) {
    return a->second->count > b->second->count;
  });
  return callees;
}

class Lines {
 public:
  Lines(size_t all, size_t most) : least_((all + 19) / 20), most_(most) {}

  void Add(const Node& node, size_t depth) {
    const auto callees = Sorted(node);
    const size_t inner = callees.size() > 1 ? depth + 1 : depth;
    size_t elsewhere = 0;
    for (const Callee* callee : callees) {
      // One line stays free for the count of what is left out.
      if (callee->second->count < least_ || lines_.size() + 1 >= most_) {
        elsewhere += callee->second->count;
        continue;
      }
      Say(inner, std::to_string(callee->second->count) + " " + callee->first);
      Add(*callee->second, inner);
    }
    if (elsewhere == 0) return;
    if (lines_.size() < most_) Say(inner, "… " + std::to_string(elsewhere) + " in other places");
  }

  std::vector<std::string> Take() { return std::move(lines_); }

 private:
  void Say(size_t depth, const std::string& text) {
    lines_.push_back(std::string(2 * depth, ' ') + text);
  }

  const size_t least_, most_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> MergeStacks(const std::vector<std::vector<std::string>>& stacks,
                                     size_t most_lines) {
  Node root;
  for (const auto& stack : stacks) {
    Node* node = &root;
    for (auto frame = stack.rbegin(); frame != stack.rend(); ++frame) {
      auto& callee = node->callees[*frame];
      if (callee == nullptr) callee = std::make_unique<Node>();
      node = callee.get();
      ++node->count;
    }
  }
  Lines lines(stacks.size(), most_lines);
  lines.Add(root, 0);
  return lines.Take();
}

}  // namespace lastcall
