#include "src/api/launch/key_value.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/api/launch/id_text.h"
#include "src/api/launch/secret_file.h"
#include "src/base/hex.h"

namespace comity::launch {
namespace {

constexpr char kId = 'i';     // the digits of an id follow
constexpr char kError = 'e';  // the digits of a sentence
constexpr size_t kLongestSentence = 400;

// Of this process; each communicator has a key of its own, the n-th with the same number on all ranks.
uint32_t communicators_met = 0;

class KeyValueLauncher final : public Launcher {
 public:
  KeyValueLauncher(const char* name, Place place, KeyValueStore& store, const std::optional<Secret>& secret)
      : Launcher(place), name_(name), store_(store), secret_(secret) {}
  const char* name() const override { return name_; }

  Result<control::UniqueId> meet(const Deadline& deadline) override {
    const std::string key = fmt::format("comity-{}", communicators_met++);
    return place().rank == 0 ? give(key, deadline) : take(key, deadline);
  }

 private:
  Result<control::UniqueId> give(const std::string& key, const Deadline& deadline) {
    const Result<NewId> id = create_id(secret_);
    if (id.ok()) {
      COMITY_RETURN_IF_ERROR(store_.give(key, kId + to_hex(id->travelling), deadline).in(name_));
      return id->real;
    }
    // The others hear why, instead of waiting.
    const std::string why(id.status().message().substr(0, kLongestSentence));
    static_cast<void>(store_.give(key, kError + to_hex(std::as_bytes(std::span(why))), deadline));
    return id.status();
  }

  Result<control::UniqueId> take(const std::string& key, const Deadline& deadline) {
    COMITY_ASSIGN_OR_RETURN(const std::string text, in_context(store_.take(key, deadline)));
    const std::string_view digits = std::string_view(text).substr(std::min<size_t>(1, text.size()));
    if (text.starts_with(kError)) {
      COMITY_ASSIGN_OR_RETURN(const Bytes why, in_context(from_hex(digits)));
      return Status(Code::kRemoteError,
                    fmt::format("rank 0 could not make a unique id: {}",
                                std::string_view(reinterpret_cast<const char*>(why.data()), why.size())));
    }
    COMITY_ASSIGN_OR_RETURN(const control::UniqueId travelling, in_context(id_from_hex(digits)));
    return real_id(travelling, secret_);
  }

  template <typename T>
  Result<T> in_context(Result<T> result) const {
    return result.ok() ? std::move(result) : Result<T>(result.status().in(name_));
  }

  const char* name_;
  KeyValueStore& store_;
  std::optional<Secret> secret_;
};

}  // namespace

std::unique_ptr<Launcher> make_key_value_launcher(const char* name, Place place, KeyValueStore& store,
                                                  const std::optional<Secret>& secret) {
  return std::make_unique<KeyValueLauncher>(name, place, store, secret);
}

}  // namespace comity::launch
