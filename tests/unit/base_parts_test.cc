// The small pieces that every room uses.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "src/base/arithmetic.h"
#include "src/base/errno_text.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/settings.h"
#include "src/base/text.h"
#include "src/base/this_host.h"

namespace comity {
namespace {

TEST(Arithmetic, RoundsToAnyMultiple) {
  EXPECT_EQ(round_up(0, 7), 0u);
  EXPECT_EQ(round_up(1, 7), 7u);
  EXPECT_EQ(round_up(14, 7), 14u);
  EXPECT_EQ(round_up(4097, 4096), 8192u);
  EXPECT_EQ(round_down(4097, 4096), 4096u);
  EXPECT_EQ(divide_up(9, 4), 3u);
  EXPECT_EQ(divide_up(8, 4), 2u);
}

TEST(Hash, AgreesWithPublishedValues) {
  EXPECT_EQ(fnv(""), 0xcbf29ce484222325u);
  EXPECT_EQ(fnv("a"), 0xaf63dc4c8601ec8cu);       // Noll's test vectors of FNV-1a, 64 bits
  EXPECT_EQ(fnv("foobar"), 0x85944171f73967e8u);  // the same
  SplitMix random(1234567);
  EXPECT_EQ(random.next(),
            6457827717110365317u);  // the reference implementation's first values for this seed
  EXPECT_EQ(random.next(), 3203168211198807973u);
}

TEST(Hash, TellsTextsApartWhereverTheyAreCut) {
  EXPECT_NE(Fnv().text("ab").text("c").value(), Fnv().text("a").text("bc").value());
  EXPECT_NE(mix(1, 2), mix(2, 1));
}

TEST(Text, ListsAreSplitTrimmedAndWithoutEmptyItems) {
  EXPECT_EQ(split_list(std::string_view(" a, b ,,c\t,")), (std::vector<std::string_view>{"a", "b", "c"}));
  EXPECT_TRUE(split_list(std::string_view(" , ")).empty());
  EXPECT_TRUE(split_list(std::string_view()).empty());
  EXPECT_EQ(split_list(std::string_view("x:y"), ':').size(), 2u);
  EXPECT_EQ(split(std::string_view("a,, b")), (std::vector<std::string_view>{"a", "", "b"}));
  EXPECT_TRUE(split(std::string_view()).empty());
}

TEST(Settings, AnEmptyValueIsTheDefault) {
  ::setenv("COMITY_INIT_TIMEOUT_MS", "", 1);
  EXPECT_EQ(*setting_number("COMITY_INIT_TIMEOUT_MS"), 60000u);
  ::unsetenv("COMITY_INIT_TIMEOUT_MS");
}

TEST(Settings, NumbersSayWhatTheyWereAndWhatIsAccepted) {
  const auto refusal = [](const char* name, const char* value) {
    ::setenv(name, value, 1);
    const auto number = setting_number(name);
    ::unsetenv(name);
    return number.ok() ? std::string("accepted") : std::string(number.status().message());
  };
  EXPECT_EQ(refusal("COMITY_ARENA_CAP", "12Q"),
            "COMITY_ARENA_CAP=\"12Q\": it takes bytes, a whole number (with K, M or G if you like)");
  EXPECT_EQ(refusal("COMITY_TIMEOUT", "99999999999999999999"),
            "COMITY_TIMEOUT=\"99999999999999999999\": it takes seconds, a whole number (with K, M or G if "
            "you like), "
            "and this is too large");
  for (const char* number : {"1.5", "-1", "K", "18446744073709551615K", " 1"}) {
    EXPECT_NE(refusal("COMITY_ARENA_CAP", number), "accepted") << number;
  }
  EXPECT_NE(refusal("COMITY_TCP_CONNECTIONS", "17").find("a number from 1 to 16"), std::string::npos);
  EXPECT_EQ(refusal("COMITY_ARENA_CAP", "3G"), "accepted");
}

TEST(Settings, EachSaysWhatItAccepts) {
  for (const Setting& setting : settings()) EXPECT_STRNE(setting.accepts, "") << setting.name;
}

void leave_with(const char* level, LogLevel asked) {
  ::setenv("COMITY_LOG", level, 1);
  std::exit(log_enabled(asked) ? 1 : 0);
}

// Each in a process of its own, as the level is read once.
TEST(Log, TakesItsLevelInAnyCaseAndSaysWhatIsNone) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(leave_with("INFO", LogLevel::kInfo), testing::ExitedWithCode(1), "^$");
  EXPECT_EXIT(leave_with("INFO", LogLevel::kDebug), testing::ExitedWithCode(0), "^$");
  EXPECT_EXIT(leave_with("loud", LogLevel::kInfo), testing::ExitedWithCode(0),
              "COMITY_LOG=\"loud\" is none of error, warn, info and debug");
}

TEST(ErrnoText, SaysWhichLimitWasHitAndHowToRaiseIt) {
  EXPECT_NE(errno_text(EMFILE).find("Too many open files (this process may have "), std::string::npos);
  EXPECT_NE(errno_text(EMFILE).find("ulimit -n"), std::string::npos);
  EXPECT_NE(errno_text(EFBIG).find("ulimit -f"), std::string::npos);
  EXPECT_EQ(errno_text(EACCES), "Permission denied");
}

TEST(File, RefusesADirectoryBySayingWhatItIs) {
  const auto read = read_file("/proc");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.status().message(), "cannot read /proc: Is a directory");
}

TEST(ThisHost, IsKnownByItsBootAndNetwork) {
  EXPECT_EQ(boot_id().size(), 36u);
  EXPECT_EQ(boot_id("/there/is/no/proc"), "");
  EXPECT_NE(network_namespace(), 0u);
}

}  // namespace
}  // namespace comity
