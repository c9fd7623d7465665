// Metric families as values, and as Prometheus text. The catalogue lists every family the program can show; a
// test holds dashboards, alert rules and the scraped output to it. Pure; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observability/histogram.hpp"

namespace decklog::observability {

enum class MetricType : unsigned char { kCounter, kGauge, kSummary, kHistogram };

struct MetricInfo {
  std::string_view name;
  MetricType type;
  std::string_view labels;  // own labels, comma separated, beside the common ones
  std::string_view help;
};
// Common labels of every series: iothub, edge_device, instance_number.
std::span<const MetricInfo> metric_catalogue();
// nullptr when there is no such family.
const MetricInfo* find_metric(std::string_view name);
std::string metric_catalogue_markdown();

using Labels = std::vector<std::pair<std::string, std::string>>;

struct Sample {
  Labels labels;
  double value = 0;                                            // summaries, histograms: the sum
  std::uint64_t count = 0;                                     // summaries, histograms
  std::vector<std::pair<double, double>> quantiles = {};       // summaries: (quantile, value)
  std::vector<std::pair<double, std::uint64_t>> buckets = {};  // histograms: (upper edge, values up to it)
};
template <class Buckets>
Sample summary_of(const Histogram<Buckets>& histogram, Labels labels) {
  Sample sample{std::move(labels), histogram.sum, histogram.count};
  for (const double q : {0.1, 0.5, 0.9, 0.99}) sample.quantiles.emplace_back(q, histogram.quantile(q));
  return sample;
}
template <class Buckets>
Sample histogram_of(const Histogram<Buckets>& histogram, Labels labels) {
  Sample sample{std::move(labels), histogram.sum, histogram.count};
  std::uint64_t up_to = 0;
  for (std::size_t i = 0; i < histogram.within.size(); ++i)
    sample.buckets.emplace_back(Buckets::kUpTo[i], up_to += histogram.within[i]);
  return sample;
}

class Exposition {
 public:
  explicit Exposition(Labels common) : common_(std::move(common)) {}
  // Aborts when the catalogue has no such family: a metric without a catalogue entry is a bug.
  void add(std::string_view name, Sample sample);
  void add(std::string_view name, double value, Labels labels = {}) {
    add(name, Sample{std::move(labels), value});
  }
  std::string text() const;

 private:
  struct Family {
    const MetricInfo* info;
    std::vector<Sample> samples;
  };
  Labels common_;
  std::vector<Family> families_;
};

}  // namespace decklog::observability
