// A program that needs the core alone.
#include <lastcall/lifecycle/termination.h>

#include <cstdio>

int main() {
  lastcall::TerminationSource source;
  const lastcall::Termination termination = source.view();
  source.Reach(lastcall::Stage::kGrace, lastcall::SteadyClock().Now());
  termination.Wait(lastcall::Stage::kGrace);
  std::puts("grace reached");
}
