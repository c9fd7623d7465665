// The command line: one binary, verbs in families. Each family adds its verbs to the app; the chosen verb
// sets what runs. Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 the device refused the
// document; 4 not found; 5 the device (its agent or hub) cannot be reached; 6 verification failed or replay
// diverged.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "events/result.hpp"
#include "services/config/config.hpp"

namespace decklog::cli {

enum Exit : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kRefused = 3,
  kNotFound = 4,
  kUnreachable = 5,
  kNotVerified = 6
};

inline constexpr const char* kDefaultConfig = "/etc/decklog/config.toml";

struct Session {
  std::string program;  // path of this binary
  std::string config_file = kDefaultConfig;
  std::string socket;   // of the agent; empty = from the configuration
  std::string journal;  // directory or bundle to read; empty = from the configuration
  bool json = false;
  bool no_colour = false;
  std::function<int()> action;  // set by the chosen verb

  Result<config::Config> config() const;
  // From the options or the configuration. A configuration that was named, or is there, has to be good: the
  // verb must not go on about another device. Without one, what a default installation has.
  Result<std::string> agent_socket() const;
  Result<std::string> hub_socket() const;
  Result<std::string> journal_directory(const char* service) const;

 private:
  Result<config::Config> config_or_defaults() const;
};

void add_service_verbs(CLI::App& app, Session& session);  // agent, hub, check-config, keeper
void add_operate_verbs(CLI::App& app,
                       Session& session);  // apply, plan, list, restart, stop, start, logs, status
void add_audit_verbs(CLI::App& app, Session& session);   // history, why, state, verify, replay, export
void add_replay_verbs(CLI::App& app, Session& session);  // replay, diff, minimise
void add_hub_verbs(CLI::App& app, Session& session);     // route, clients, queues
void add_fleet_verbs(CLI::App& app, Session& session);   // fleet init, desired, reported, ...
void add_about_verbs(CLI::App& app, Session& session);   // version, machines, events, completion
// Completion script of the whole command line for "bash", "zsh" or "fish".
std::string completion_script(const CLI::App& app, const std::string& shell);

// A whole file; "-" is standard input.
Result<std::string> read_text(const std::string& file);

// Prints "decklog: <error>" to stderr and gives the exit code that fits.
int complain(const Error& error);

// A table with aligned columns; the last column is not padded. Colours only on a terminal.
class Table {
 public:
  explicit Table(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print(const Session& session) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

bool colours(const Session& session);
// Wraps text in the colour of a module state when colours are on.
std::string state_text(const Session& session, const std::string& state);

}  // namespace decklog::cli
