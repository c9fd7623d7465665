#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "services/cli/cli.hpp"

namespace decklog::cli {
namespace {

// Width on a terminal: UTF-8 continuation bytes and escape sequences take no column.
std::size_t width(const std::string& text) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      while (i < text.size() && text[i] != 'm') ++i;
      continue;
    }
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) ++columns;
  }
  return columns;
}

}  // namespace

bool colours(const Session& session) {
  if (session.no_colour || std::getenv("NO_COLOR")) return false;
  const char* terminal = std::getenv("TERM");
  return isatty(STDOUT_FILENO) && terminal && std::string(terminal) != "dumb";
}

std::string state_text(const Session& session, const std::string& state) {
  if (!colours(session)) return state;
  const char* colour = "33";  // yellow: on its way
  if (state == "running" || state == "connected" || state == "applied") colour = "32";
  if (state == "failed" || state == "unhealthy" || state == "image-rejected" || state == "lost" ||
      state == "refused")
    colour = "31";
  if (state == "stopped" || state == "removed" || state == "closed") colour = "90";
  return std::string("\033[") + colour + "m" + state + "\033[0m";
}

void Table::print(const Session& session) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], width(row[i]));
    }
  }
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows_[r].size(); ++i) {
      const bool last = i + 1 == rows_[r].size();
      line += rows_[r][i];
      if (!last) line.append(widths[i] - width(rows_[r][i]) + 2, ' ');
    }
    if (r == 0 && colours(session)) line = "\033[1m" + line + "\033[0m";
    std::puts(line.c_str());
  }
}

int complain(const Error& error) {
  std::fprintf(stderr, "decklog: %s\n", describe(error).c_str());
  switch (error.code) {
    case Errc::kInvalidArgument:
    case Errc::kMalformed:
      return kUsage;
    case Errc::kNotFound:
      return kNotFound;
    case Errc::kUnavailable:
    case Errc::kPermissionDenied:
      return kUnreachable;
    case Errc::kCorrupt:
      return kNotVerified;
    default:
      return kFailed;
  }
}

Result<config::Config> Session::config() const {
  return config::load_config(config_file);
}

Result<config::Config> Session::config_or_defaults() const {
  auto loaded = config();
  if (loaded) return loaded;
  if (loaded.error().code == Errc::kNotFound && config_file == kDefaultConfig)
    return config::parse_config("device = \"default\"", config_file);
  return error(Errc::kInvalidArgument, loaded.error().message, loaded.error().where);
}

Result<std::string> Session::agent_socket() const {
  if (!socket.empty()) return socket;
  const auto loaded = config_or_defaults();
  if (!loaded) return loaded.error();
  return loaded->agent.management_socket;
}

Result<std::string> Session::hub_socket() const {
  if (!socket.empty()) return socket;
  const auto loaded = config_or_defaults();
  if (!loaded) return loaded.error();
  return loaded->hub.management_socket;
}

Result<std::string> Session::journal_directory(const char* service) const {
  if (!journal.empty()) return journal;
  const auto loaded = config_or_defaults();
  if (!loaded) return loaded.error();
  return loaded->data_dir + "/" + service + "/journal";
}

}  // namespace decklog::cli
