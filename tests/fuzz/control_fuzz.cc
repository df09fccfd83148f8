// Everything of the control plane that parses a peer's bytes. What decodes must encode to the same bytes
// again, and the meeting's book must survive any visit.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "src/control/address_book.h"
#include "src/control/meeting.h"
#include "src/control/messages.h"
#include "src/control/unique_id.h"

namespace {

using namespace comity;
using namespace comity::control;

template <typename Decode>
void expect_same_again(std::span<const std::byte> bytes, Decode decode) {
  const auto decoded = decode(bytes);
  if (!decoded) return;
  const Bytes again = encode(*decoded);
  if (again.size() != bytes.size() || !std::equal(again.begin(), again.end(), bytes.begin())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  switch (data[0] % 18) {
    case 0: {
      // Addresses have padding and unused bytes that are not kept: no comparison.
      const auto visit = decode_visit(bytes);
      if (!visit || visit->nranks > 4096) break;
      static MeetingBook* book = nullptr;
      if (book == nullptr || book->failed()) {
        delete book;
        book = new MeetingBook();
      }
      (void)encode(book->answer(data[0], *visit));
      break;
    }
    case 1:
      (void)decode_answer(bytes);
      break;
    case 2:
      expect_same_again(bytes, decode_gathered);
      break;
    case 3:
      expect_same_again(bytes, decode_agreement);
      break;
    case 4:
      expect_same_again(bytes, decode_opinions);
      break;
    case 5:
      expect_same_again(bytes, decode_inquiry);
      break;
    case 6:
      expect_same_again(bytes, decode_fault);
      break;
    case 7:
      expect_same_again(bytes, decode_leaving);
      break;
    case 9:
      expect_same_again(bytes, decode_lead);
      break;
    case 10:
      expect_same_again(bytes, [](std::span<const std::byte> what) { return decode_tree_state(what, 1000); });
      break;
    case 11: {
      // Ports and padding of addresses are not kept: no comparison.
      const auto book = AddressBook::decode(bytes, 1000);
      if (!book) break;
      for (uint32_t rank = 0; rank < 1000; ++rank) (void)book->of(rank);
      for (uint32_t rank = 0; rank < 1000; rank += 99) (void)book->neighbour_of(rank);
      (void)book->encode();
      break;
    }
    case 12:
      expect_same_again(bytes, decode_scope_part);
      expect_same_again(bytes, decode_late_scope);
      break;
    case 13:
      expect_same_again(bytes, decode_decided);
      break;
    case 17:
      expect_same_again(bytes, [](std::span<const std::byte> what) { return decode_gone(what, 1000); });
      break;
    case 15:
      expect_same_again(bytes, decode_waits);
      break;
    case 16:
      expect_same_again(bytes, decode_who_waits);
      break;
    case 14:
      expect_same_again(bytes, decode_parted);
      break;
    case 8: {
      UniqueId id{};
      std::memcpy(id.data(), bytes.data(), std::min(bytes.size(), id.size()));
      (void)decode_id(id);
      break;
    }
  }
  return 0;
}
