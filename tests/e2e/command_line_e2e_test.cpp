// The command line as the READMEs promise it: every verb and option they name is there, every verb explains
// itself with an example, what is asked for as JSON is JSON, and a bad configuration is never passed over.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "tests/e2e/agent_under_test.hpp"

namespace decklog::e2e {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::string help_of(const std::string& verb) {
  std::vector<std::string> words{DECKLOG_PROGRAM};
  std::istringstream parts(verb);
  for (std::string part; parts >> part;) words.push_back(part);
  words.push_back("--help");
  const Outcome outcome = run(words);
  EXPECT_EQ(outcome.status, 0) << verb << ": " << outcome.text();
  return outcome.out;
}

// The names in the list of subcommands of a help text.
std::vector<std::string> subcommands(const std::string& help) {
  std::vector<std::string> names;
  std::istringstream lines(help);
  bool listed = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Subcommands:"))
      listed = true;
    else if (listed && line.starts_with("  ") && line.size() > 2 && line[2] != ' ')
      names.push_back(line.substr(2, line.find(' ', 2) - 2));
  }
  return names;
}

// "list" or "fleet desired" -> its help. "" is the program itself.
const std::map<std::string, std::string>& verbs() {
  static const auto found = [] {
    std::map<std::string, std::string> all{{"", help_of("")}};
    for (const auto& verb : subcommands(all[""])) {
      all[verb] = help_of(verb);
      for (const auto& sub : subcommands(all[verb])) all[verb + " " + sub] = help_of(verb + " " + sub);
    }
    return all;
  }();
  return found;
}

bool names_option(const std::string& help, const std::string& option) {
  for (auto at = help.find(option); at != std::string::npos; at = help.find(option, at + 1)) {
    const char after = help.c_str()[at + option.size()];
    if (!std::isalnum(static_cast<unsigned char>(after)) && after != '-') return true;
  }
  return false;
}

// Words of each "decklog ..." that stands as code in a README.
std::vector<std::vector<std::string>> commands_in(const std::string& text) {
  std::vector<std::vector<std::string>> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    for (auto at = line.find("decklog "); at != std::string::npos; at = line.find("decklog ", at + 1)) {
      const auto before = line.find_last_not_of(' ', at == 0 ? std::string::npos : at - 1);
      const bool begins = at == 0 || before == std::string::npos || line[before] == '$' ||
                          (before + 1 == at && (line[before] == '/' || line[before] == '`'));
      const bool code =
          line.starts_with("    ") ||
          std::count(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(at), '`') % 2 == 1;
      if (!begins || !code) continue;
      std::vector<std::string> words;
      std::istringstream rest(line.substr(at + 8, line.find_first_of("`#|&;", at) - at - 8));
      for (std::string word; rest >> word;) words.push_back(word);
      if (!words.empty()) found.push_back(std::move(words));
    }
  }
  return found;
}

std::vector<fs::path> readmes() {
  std::vector<fs::path> found;
  for (auto entry = fs::recursive_directory_iterator(DECKLOG_SOURCE_DIR); entry != fs::end(entry); ++entry) {
    const auto name = entry->path().filename();
    if (entry->is_directory() && (name == "build" || name == ".git" || name == "node_modules"))
      entry.disable_recursion_pending();
    else if (name == "README.md")
      found.push_back(entry->path());
  }
  return found;
}

TEST(CommandLine, HasEveryVerbAndOptionThatAReadmeNames) {
  std::size_t named = 0;
  for (const auto& readme : readmes()) {
    for (const auto& words : commands_in(read_file(readme.string()))) {
      std::string verb;
      std::vector<std::string> options;
      for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == "--config" || words[i] == "--socket") {
          ++i;
        } else if (words[i].starts_with("--")) {
          options.push_back(words[i]);
        } else if (verb.empty()) {
          verb = words[i];
        } else if (verbs().contains(verb + " " + words[i])) {
          verb += " " + words[i];
        }
      }
      if (verb.empty() || verb == "VERB" || verb == "VERB:") continue;
      const std::string where = readme.string() + ": decklog " + verb;
      ++named;
      const auto help = verbs().find(verb);
      ASSERT_NE(help, verbs().end()) << where;
      for (const auto& option : options)
        EXPECT_TRUE(names_option(help->second, option) || names_option(verbs().at(""), option))
            << where << " " << option;
    }
  }
  EXPECT_GE(named, 20u) << "READMEs are read wrongly";
}

TEST(CommandLine, EveryVerbExplainsItselfWithAnExample) {
  EXPECT_GE(verbs().size(), 25u);
  for (const auto& [verb, help] : verbs()) {
    if (verb.empty()) continue;
    EXPECT_NE(help.find("Example"), std::string::npos) << verb;
  }
}

// The example of a verb's help names only what there is, too.
TEST(CommandLine, ExamplesInTheHelpAreVerbs) {
  for (const auto& [verb, help] : verbs()) {
    const auto at = help.find("Example");
    if (verb.empty() || at == std::string::npos) continue;
    std::istringstream lines(help.substr(at));
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  decklog ")) continue;
      EXPECT_NE(line.find(" " + verb.substr(0, verb.find(' '))), std::string::npos) << verb << ": " << line;
    }
  }
}

TEST(CommandLine, CompletionOfBashKnowsVerbsAndTheirOptions) {
  const std::string script = run({DECKLOG_PROGRAM, "completion", "bash"}).out;
  const auto complete = [&](const std::string& words, const std::string& count) {
    return run({"/bin/bash", "-uc",
                "source /dev/stdin; COMP_WORDS=(" + words + "); COMP_CWORD=" + count +
                    "; _decklog; echo \"${COMPREPLY[@]}\""},
               script);
  };
  for (const auto& [words, count, wanted] : {std::tuple{"decklog hist", "1", "history"},
                                             {"decklog replay --what", "2", "--what-if"},
                                             {"decklog fleet ident", "2", "identity"},
                                             {"decklog --config x.toml veri", "3", "verify"}}) {
    const Outcome outcome = complete(words, count);
    EXPECT_EQ(outcome.status, 0) << words << outcome.text();
    EXPECT_NE(outcome.out.find(wanted), std::string::npos) << words << ": " << outcome.text();
  }
  for (const char* shell : {"bash", "zsh"})
    EXPECT_EQ(run({"/bin/bash", "-n"}, run({DECKLOG_PROGRAM, "completion", shell}).out).status, 0) << shell;
}

TEST(CommandLine, WhatIsAskedForAsJsonIsJson) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent.apply(deployment(process_module("steady", "sleep 600"))).status, 0);
  ASSERT_TRUE(agent.becomes("steady", "running")) << agent.describe();
  const std::string plan = agent.path("plan.json");
  write_file(plan, deployment(process_module("steady", "sleep 601")));
  for (const std::vector<std::string>& words : {std::vector<std::string>{"list"},
                                                {"status"},
                                                {"why", "steady"},
                                                {"state"},
                                                {"state", "--at", "3"},
                                                {"verify"},
                                                {"replay"},
                                                {"replay", "--what-if", "set=schemaVersion=\"1.1\""},
                                                {"export", agent.path("x.dlb")},
                                                {"diff", agent.path("x.dlb")},
                                                {"plan", plan},
                                                {"restart", "steady"},
                                                {"version"},
                                                {"machines"},
                                                {"events"},
                                                {"check-config"},
                                                {"fleet", "init"},
                                                {"fleet", "desired", "--put", plan},
                                                {"fleet", "desired"},
                                                {"fleet", "reported"}}) {
    auto with_json = words;
    with_json.push_back("--json");
    const Outcome outcome = agent.cli(with_json);
    json::error_code failed;
    (void)json::parse(outcome.out, failed);
    EXPECT_FALSE(failed) << words.front() << ": " << outcome.text().substr(0, 300);
  }
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

TEST(CommandLine, ABadConfigurationIsNeverPassedOver) {
  AgentUnderTest agent;
  write_file(agent.path("bad.toml"), "device = \n");
  for (const char* file : {"bad.toml", "absent.toml"}) {
    for (const std::vector<std::string>& words : {std::vector<std::string>{"list"},
                                                  {"status"},
                                                  {"plan", "-"},
                                                  {"apply", "-"},
                                                  {"history"},
                                                  {"why", "m"},
                                                  {"state"},
                                                  {"verify"},
                                                  {"replay"},
                                                  {"export", agent.path("x.dlb")},
                                                  {"logs", "m"},
                                                  {"restart", "m"},
                                                  {"clients"},
                                                  {"queues"},
                                                  {"fleet", "reported"},
                                                  {"check-config"}}) {
      std::vector<std::string> command{DECKLOG_PROGRAM, "--config", agent.path(file)};
      command.insert(command.end(), words.begin(), words.end());
      const Outcome outcome = run(command);
      EXPECT_EQ(outcome.status, 2) << words.front() << ": " << outcome.text();
      EXPECT_NE(outcome.err.find(file), std::string::npos) << words.front() << ": " << outcome.text();
    }
  }
}

TEST(CommandLine, WhatIfTellsARealLifeOtherwiseAndWritesNothing) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent
                .apply(deployment(process_module(
                    "crashy", "exit 3", R"("restart":{"backoffFirstSecs":0.1,"backoffCapSecs":0.2})")))
                .status,
            0);
  ASSERT_TRUE(eventually([&] { return agent.module("crashy").at("restarts").to_number<int>() >= 2; }));
  ASSERT_EQ(agent.stop(), 0) << agent.log();
  const std::size_t events = agent.history().size();
  const std::string bundle = agent.path("life.dlb");
  ASSERT_EQ(agent.cli({"export", bundle}).status, 0);

  const std::vector<std::string> otherwise{"replay", bundle, "--what-if",
                                           "set=modules.crashy.restartPolicy=never"};
  const Outcome told = agent.cli(otherwise);
  EXPECT_EQ(told.status, 0) << told.text();
  for (const char* text : {"HYPOTHETICAL", "history departs at input", "module crashy", "AT THE END"})
    EXPECT_NE(told.out.find(text), std::string::npos) << text << ": " << told.out;
  const auto report = agent.json(otherwise);
  EXPECT_TRUE(report.at("hypothetical").as_bool());
  EXPECT_TRUE(report.at("departure").is_object());
  // The device's own journal says the same as its export, and a change of nothing changes nothing.
  EXPECT_EQ(agent.json({"replay", "--what-if", "set=modules.crashy.restartPolicy=never"}), report);
  EXPECT_TRUE(
      agent.json({"replay", bundle, "--what-if", "set=schemaVersion=\"1.1\""}).at("departure").is_null());
  for (const char* change :
       {"drop=1", "drop=999999", "drop=x", "delay=2", "set=modules.none.status=stopped", "x"}) {
    const Outcome refused = agent.cli({"replay", bundle, "--what-if", change});
    EXPECT_EQ(refused.status, 2) << change << ": " << refused.text();
    EXPECT_NE(refused.err.find("--what-if"), std::string::npos) << refused.text();
  }
  EXPECT_EQ(agent.history().size(), events) << "nothing of it is written";
  expect_sound_log(agent);
}

TEST(CommandLine, NothingToReplayIsNoReplayWithoutADivergence) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent.stop(), 0) << agent.log();
  EXPECT_EQ(agent.cli({"replay"}).status, 0);
  EXPECT_EQ(agent.cli({"replay", "--from", "99999"}).status, 4);
  ASSERT_EQ(agent.cli({"export", agent.path("whole.dlb")}).status, 0);
  write_file(agent.path("logs/cut.dlb"), read_file(agent.path("whole.dlb")).substr(0, 12));
  for (const std::string& path : {agent.path("logs/cut.dlb"), agent.path("logs")})
    EXPECT_EQ(agent.cli({"replay", path}).status, 6) << path;
}

TEST(CommandLine, NamesAndTimesReachTheAgentAsTyped) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent.apply(deployment(process_module("talker", "echo said; exec sleep 600"))).status, 0);
  ASSERT_TRUE(eventually([&] {
    return agent.cli({"logs", "talker"}).out.find("said") != std::string::npos;
  }));
  for (const char* name : {"no such", "a/b", "a?follow=true", "%74alker", "talker#"}) {
    EXPECT_EQ(agent.cli({"logs", name}).status, 4) << name;
    EXPECT_EQ(agent.cli({"restart", name}).status, 4) << name;
  }
  const Outcome later = agent.cli({"logs", "talker", "--since", "2001-01-01T02:00:00+02:00"});
  EXPECT_EQ(later.status, 0) << later.text();
  EXPECT_NE(later.out.find("said"), std::string::npos);
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

TEST(CommandLine, OutputThatIsNoTextIsStillJson) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent.apply(deployment(process_module("noisy", "printf 'a\\377\\376z\\nend\\n'; exec sleep 600")))
                .status,
            0);
  ASSERT_TRUE(eventually([&] { return agent.cli({"logs", "noisy"}).out.find("end") != std::string::npos; }));
  std::istringstream lines(agent.cli({"--json", "logs", "noisy"}).out);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    json::error_code failed;
    (void)json::parse(line, failed);
    EXPECT_FALSE(failed) << line;
  }
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

}  // namespace
}  // namespace decklog::e2e
