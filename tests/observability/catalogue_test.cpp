// One list of metrics: the README, the alert rules and the dashboard name only what is in it.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "observability/exposition.hpp"
#include "observability/series.hpp"

namespace decklog::observability {
namespace {

const std::string kFolder = DECKLOG_SOURCE_DIR "/observability/";

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::set<std::string> metrics_in(const std::string& text) {
  static const std::regex name(R"((decklog|edgeAgent|edgehub)_[A-Za-z0-9_]+)");
  std::set<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at) found.insert(at->str());
  return found;
}

// Summaries and histograms show as three families of series.
const MetricInfo* find_series(std::string name) {
  if (const auto* info = find_metric(name)) return info;
  for (const std::string suffix : {"_sum", "_count", "_bucket"}) {
    if (!name.ends_with(suffix)) continue;
    name.resize(name.size() - suffix.size());
    const auto* info = find_metric(name);
    if (!info || info->type == MetricType::kHistogram) return info;
    return info->type == MetricType::kSummary && suffix != "_bucket" ? info : nullptr;
  }
  return nullptr;
}

void expect_known(const std::set<std::string>& names) {
  for (const auto& name : names) EXPECT_NE(find_series(name), nullptr) << name << " is not in the catalogue";
}

TEST(Catalogue, IsWhatTheReadmeSays) {
  const std::string path = kFolder + "README.md";
  const std::string begin = "<!-- metrics: begin -->\n", end = "<!-- metrics: end -->";
  std::string text = read_file(path);
  ASSERT_NE(text.find(begin), std::string::npos);
  const auto start = text.find(begin) + begin.size();
  ASSERT_NE(text.find(end, start), std::string::npos);
  if (std::getenv("DECKLOG_REWRITE")) {
    text.replace(start, text.find(end, start) - start, metric_catalogue_markdown());
    std::ofstream(path, std::ios::binary) << text;
  }
  const std::string now = read_file(path);
  EXPECT_EQ(now.substr(start, now.find(end, start) - start), metric_catalogue_markdown())
      << "DECKLOG_REWRITE=1 writes it anew";
}

TEST(Catalogue, FollowsTheRulesOfNames) {
  std::set<std::string_view> names;
  for (const auto& info : metric_catalogue()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.help.empty()) << info.name;
    // The one exception is Azure's own name.
    if (info.name == "edgeAgent_edgeagent_direct_method_invocations_count") continue;
    EXPECT_EQ(info.name.ends_with("_total"), info.type == MetricType::kCounter) << info.name;
  }
  EXPECT_EQ(find_metric("decklog_nothing"), nullptr);
}

TEST(Alerts, NameOnlyMetricsOfTheCatalogue) {
  const auto used = metrics_in(read_file(kFolder + "alerts.yml"));
  EXPECT_GE(used.size(), 15u);
  expect_known(used);
}

TEST(Alerts, AreEachTested) {
  const std::string rules = read_file(kFolder + "alerts.yml"), tests = read_file(kFolder + "alerts_test.yml");
  static const std::regex alert(R"(- alert: (\w+))");
  std::size_t alerts = 0;
  for (std::sregex_iterator at(rules.begin(), rules.end(), alert), end; at != end; ++at, ++alerts) {
    // Once more than silent: with labels it must have.
    const std::regex fires("alertname: " + (*at)[1].str() + "\\s+exp_alerts:\\s+- exp_labels");
    EXPECT_TRUE(std::regex_search(tests, fires)) << (*at)[1].str() << " is never seen to fire";
  }
  EXPECT_GE(alerts, 16u);
}

TEST(Dashboard, NamesOnlyMetricsOfTheCatalogueAndUsesThemAll) {
  const auto board = boost::json::parse(read_file(kFolder + "dashboard.json")).as_object();
  std::set<std::string> used;
  std::set<std::int64_t> ids;
  for (const auto& value : board.at("panels").as_array()) {
    const auto& panel = value.as_object();
    EXPECT_TRUE(ids.insert(panel.at("id").as_int64()).second) << "panel id used twice";
    if (panel.at("type") == "row") continue;
    EXPECT_FALSE(panel.at("targets").as_array().empty()) << panel.at("title").as_string();
    for (const auto& target : panel.at("targets").as_array()) {
      const std::string expression(target.at("expr").as_string());
      const auto names = metrics_in(expression);
      EXPECT_FALSE(names.empty()) << expression;
      used.insert(names.begin(), names.end());
    }
  }
  expect_known(used);
  std::set<const MetricInfo*> shown;
  for (const auto& name : used) shown.insert(find_series(name));
  for (const auto& info : metric_catalogue()) {
    if (info.name == "edgeAgent_total_memory_bytes" || info.name == "decklog_journal_groups_total" ||
        info.name == "decklog_journal_compactions_total")
      continue;
    EXPECT_TRUE(shown.contains(&info)) << info.name << " is on no panel";
  }
}

TEST(Exposition, WritesFamiliesWithHelpTypeLabelsAndValues) {
  Exposition page(Labels{{"edge_device", "d"}});
  page.add("decklog_module_transitions_total", 3, {{"module_name", "a\"b\\c\nd"}});
  page.add("decklog_deployment_version", 7);
  page.add("decklog_module_transitions_total", 4, {{"module_name", "e"}});
  page.add("edgeAgent_command_latency_seconds", Sample{{{"command", "pull"}}, 2.5, 2, {{0.5, 1}, {0.99, 2}}});
  const std::string text = page.text();
  const auto has = [&](const std::string& line) { return text.find(line + "\n") != std::string::npos; };
  EXPECT_TRUE(has("# TYPE decklog_module_transitions_total counter")) << text;
  EXPECT_TRUE(has(R"(decklog_module_transitions_total{edge_device="d",module_name="a\"b\\c\nd"} 3)")) << text;
  EXPECT_TRUE(has(R"(decklog_module_transitions_total{edge_device="d",module_name="e"} 4)")) << text;
  EXPECT_TRUE(has(R"(decklog_deployment_version{edge_device="d"} 7)")) << text;
  EXPECT_TRUE(has(R"(edgeAgent_command_latency_seconds_count{edge_device="d",command="pull"} 2)")) << text;
  EXPECT_TRUE(has(R"(edgeAgent_command_latency_seconds_sum{edge_device="d",command="pull"} 2.5)")) << text;
  EXPECT_TRUE(has(R"(edgeAgent_command_latency_seconds{edge_device="d",command="pull",quantile="0.5"} 1)"))
      << text;
  // One TYPE line a family, or Prometheus refuses the page.
  const std::string type = "# TYPE decklog_module_transitions_total";
  EXPECT_EQ(text.find(type), text.rfind(type));
}

TEST(Exposition, WritesHistogramsWithBucketsThatGrow) {
  Seconds took;
  for (const double value : {0.0002, 0.0002, 0.003, 9999.0}) took.add(value);
  EXPECT_EQ(took.quantile(0.5), 0.00025);
  EXPECT_EQ(took.quantile(0.7), 0.005);
  Exposition page(Labels{});
  page.add("decklog_hub_commit_seconds", histogram_of(took, {}));
  const std::string text = page.text();
  const auto has = [&](const std::string& line) { return text.find(line + "\n") != std::string::npos; };
  EXPECT_TRUE(has("# TYPE decklog_hub_commit_seconds histogram")) << text;
  EXPECT_TRUE(has(R"(decklog_hub_commit_seconds_bucket{le="0.0001"} 0)")) << text;
  EXPECT_TRUE(has(R"(decklog_hub_commit_seconds_bucket{le="0.00025"} 2)")) << text;
  EXPECT_TRUE(has(R"(decklog_hub_commit_seconds_bucket{le="3600"} 3)")) << text;
  EXPECT_TRUE(has(R"(decklog_hub_commit_seconds_bucket{le="+Inf"} 4)")) << text;
  EXPECT_TRUE(has("decklog_hub_commit_seconds_count 4")) << text;
}

TEST(SeriesTest, BeyondItsBoundEverythingIsOther) {
  Series<2, std::uint64_t, 1> series;
  for (int i = 0; i < 10'000; ++i) ++series.at({i % 2 == 0 ? "even" : "odd", std::to_string(i)});
  EXPECT_EQ(series.size(), kMaxSeries + 2);
  std::uint64_t sum = 0;
  for (const auto& [key, value] : series) sum += value;
  EXPECT_EQ(sum, 10'000u);
  ++series.at({"odd", "1"});
  EXPECT_EQ(series.at({"odd", "1"}), 2u);
  EXPECT_EQ(series.at({"odd", "never seen"}), (10'000 - kMaxSeries) / 2);
  EXPECT_EQ(series.at({"even", "other"}), (10'000 - kMaxSeries) / 2);
}

TEST(ExpositionDeathTest, AMetricOutsideTheCatalogueIsABug) {
  Exposition page(Labels{});
  EXPECT_DEATH(page.add("decklog_made_up", 1), "info != nullptr");
}

}  // namespace
}  // namespace decklog::observability
