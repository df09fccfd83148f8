// The command `comity`.

#include <CLI/CLI.hpp>

#include "src/cli/command.h"

int main(int argc, char** argv) {
  CLI::App app("Collective communication for mixed accelerators and links");
  app.name("comity");
  app.set_version_flag("--version", COMITY_CLI_VERSION);
  app.require_subcommand(1);
  int status = comity::cli::kGood;
  comity::cli::add_plan(app, status);
  comity::cli::add_verify(app, status);
  comity::cli::add_topo(app, status);
  comity::cli::add_config(app, status);
  comity::cli::add_device(app, status);
  comity::cli::add_doctor(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? comity::cli::kGood : comity::cli::kNotDone;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "comity: %s\n", error.what());
    return comity::cli::kNotDone;
  }
  return status;
}
