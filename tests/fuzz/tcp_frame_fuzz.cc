// The frame parser against arbitrary streams, cut in arbitrary places. Input: bytes of the stream; the first
// two choose how it is cut and when the sink refuses.
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "transports/tcp/frame.h"
#include "transports/tcp/rails.h"

namespace {

using comity::SegmentHeader;

constexpr comity::tcp::FrameLimits kLimits{64 * 1024, 0x01010101};

void require(bool holds) {
  if (!holds) std::abort();
}

// Hands out memory of exactly the asked length and checks that segments are within bounds.
class Sink final : public comity::SegmentSink {
 public:
  explicit Sink(unsigned refuse_at) : left_(refuse_at) {}
  std::byte* place(const SegmentHeader& header) override {
    require(header.length > 0 && header.length <= kLimits.segment_bytes);
    if (left_ == 0) return nullptr;
    placed_.reset(new std::byte[header.length]);
    return placed_.get();
  }
  bool arrived(const SegmentHeader& header, const std::byte* payload) override {
    require(comity::tcp::fault_of(header, kLimits).empty());
    unsigned sum = 0;
    for (uint32_t i = 0; i < header.length; ++i) sum += static_cast<unsigned>(payload[i]);
    last_ = sum;
    return left_ != 0 && --left_ != 0;
  }

 private:
  unsigned left_;
  volatile unsigned last_ = 0;  // every byte is read
  std::unique_ptr<std::byte[]> placed_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)comity::tcp::decode(std::span(reinterpret_cast<const std::byte*>(data), size)).ok();
  if (size < 2) return 0;
  const size_t cut = 1 + size_t{data[0]} * 17;
  Sink sink(1u + data[1]);
  comity::tcp::FrameReceiver receiver(kLimits);
  for (size_t at = 2; at < size;) {
    std::array<iovec, 2> pieces;
    const int count = receiver.want(pieces);
    size_t left = std::min(cut, size - at);
    size_t taken = 0;
    for (int i = 0; i < count; ++i) {
      const size_t n = std::min(left, pieces[i].iov_len);
      std::memcpy(pieces[i].iov_base, data + at, n);
      at += n;
      left -= n;
      taken += n;
    }
    require(taken > 0);
    if (!receiver.got(taken, sink).empty()) break;
  }
  return 0;
}
