// Member: what the supervisor knows of one process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <lastcall/lifecycle/cause.h>
#include <lastcall/supervisor/back_off.h>
#include <lastcall/supervisor/incarnation.h>
#include <lastcall/supervisor/process_spec.h>

namespace lastcall {

struct Successor : Incarnation {
  ProcessSpec spec;
  Cause by;
  bool took_over = false;
};

// Of its current incarnation, and of those before and after.
struct Member : Incarnation {
  ProcessSpec spec;
  uint32_t incarnations = 0;  // so far
  uint32_t restarts = 0;      // because an incarnation had ended by itself
  std::string last_failure;   // how the last one did
  uint32_t last_failed = 0;   // which that was
  BackOff back_off{};
  bool stays_down = false;  // by its restart policy
  bool added = false;       // by a change that is still under way
  bool removed = false;     // by a change; its incarnations end
  std::optional<Successor> successor;
  std::vector<Incarnation> retired;  // oldest first
};

// Every incarnation of a member: those before, the current one, the one to come. Some are down.
template <class Member, class F>
void ForEachIncarnation(Member& member, F action) {
  for (auto& incarnation : member.retired) action(incarnation);
  action(member);
  if (member.successor) action(*member.successor);
}

}  // namespace lastcall
