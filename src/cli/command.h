// The subcommands of `comity`. Each add_ function declares one on the app; when the command line asks for it,
// parsing runs it and its exit status is stored. Results go to standard output, complaints to standard error.
//
// Exit status of all: 0 done and good, 1 done and bad (a plan that is wrong, a machine that lacks something
// needed), 2 not done: bad arguments or unreadable input, with the reason.
#pragma once

namespace CLI {
class App;
}

namespace comity::cli {

inline constexpr int kGood = 0;
inline constexpr int kBad = 1;
inline constexpr int kNotDone = 2;

// comity plan COLLECTIVE --ranks N --bytes S [...]: shows the plan that would run, or a forced one.
void add_plan(CLI::App& app, int& status);
// comity verify FILE: proves a plan from a file.
void add_verify(CLI::App& app, int& status);
// comity topo [FILE|NOTATION] [--format F], comity topo diff A B: topologies, shown and compared. A malformed
// file is kBad, as is a difference.
void add_topo(CLI::App& app, int& status);
// comity config [--json]: each setting's value and where it came from. A file of settings that is refused is
// kBad.
void add_config(CLI::App& app, int& status);
// comity device list, comity device check NAME|FILE [--report FILE]: what is here, and whether one keeps the
// contract of comity/plugin/device_abi.h.
void add_device(CLI::App& app, int& status);
// comity doctor: what is built in, found and missing, and how to get it.
void add_doctor(CLI::App& app, int& status);

}  // namespace comity::cli
