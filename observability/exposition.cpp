#include "observability/exposition.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "events/result.hpp"

namespace decklog::observability {
namespace {

prometheus::MetricType to_prometheus(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricType::kSummary:
      return prometheus::MetricType::Summary;
    case MetricType::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

prometheus::ClientMetric to_prometheus(MetricType type, const Labels& common, const Sample& sample) {
  prometheus::ClientMetric metric;
  for (const auto* labels : {&common, &sample.labels}) {
    for (const auto& [name, value] : *labels) metric.label.push_back({name, value});
  }
  switch (type) {
    case MetricType::kCounter:
      metric.counter.value = sample.value;
      break;
    case MetricType::kGauge:
      metric.gauge.value = sample.value;
      break;
    case MetricType::kSummary:
      metric.summary.sample_count = sample.count;
      metric.summary.sample_sum = sample.value;
      for (const auto& [quantile, value] : sample.quantiles)
        metric.summary.quantile.push_back({quantile, value});
      break;
    case MetricType::kHistogram:
      metric.histogram.sample_count = sample.count;
      metric.histogram.sample_sum = sample.value;
      for (const auto& [edge, up_to] : sample.buckets) metric.histogram.bucket.push_back({up_to, edge});
      metric.histogram.bucket.push_back({sample.count, std::numeric_limits<double>::infinity()});
      break;
  }
  return metric;
}

}  // namespace

void Exposition::add(std::string_view name, Sample sample) {
  const MetricInfo* info = find_metric(name);
  DECKLOG_ASSERT(info != nullptr);
  auto family =
      std::find_if(families_.begin(), families_.end(), [&](const Family& f) { return f.info == info; });
  if (family == families_.end()) family = families_.insert(families_.end(), Family{info, {}});
  family->samples.push_back(std::move(sample));
}

std::string Exposition::text() const {
  std::vector<prometheus::MetricFamily> families;
  for (const auto& family : families_) {
    prometheus::MetricFamily out;
    out.name = std::string(family.info->name);
    out.help = std::string(family.info->help);
    out.type = to_prometheus(family.info->type);
    for (const auto& sample : family.samples)
      out.metric.push_back(to_prometheus(family.info->type, common_, sample));
    families.push_back(std::move(out));
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

}  // namespace decklog::observability
