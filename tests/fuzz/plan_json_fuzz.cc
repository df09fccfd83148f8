// Any text given to the reader of plans is refused or becomes a plan that survives everything done with
// plans: proof, price, print, expansion, and writing it out and reading it back.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "src/plan/cost.h"
#include "src/plan/json.h"
#include "src/plan/print.h"
#include "src/plan/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace comity;  // NOLINT(google-build-using-namespace): a program of one function
  const Result<plan::Plan> read = plan::plan_from_json({reinterpret_cast<const char*>(data), size});
  if (!read.ok()) return 0;
  const Result<plan::Plan> again = plan::plan_from_json(plan::to_json(*read));
  if (!again.ok() || !(*again == *read)) std::abort();
  (void)plan::to_text(*read);
  (void)plan::to_dot(*read);
  plan::CostInput input;
  input.path = [](uint32_t, uint32_t) { return plan::PathFigures{1000, 1'000'000'000}; };
  input.block_bytes = 1 << 20;
  const bool right = plan::verify(*read).ok;
  const Result<plan::Cost> cost = plan::price(*read, input);
  if (right && !cost.ok()) std::abort();
  return 0;
}
