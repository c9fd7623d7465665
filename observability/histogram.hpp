// How long or how large, in fixed buckets: quantiles within a bucket, no samples kept. A value; one owner.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace decklog::observability {

struct SecondsBuckets {
  static constexpr std::array<double, 18> kUpTo{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                                0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                                1,      2.5,     10,     60,    600,    3600};
};
struct BytesBuckets {
  static constexpr std::array<double, 9> kUpTo{16, 64, 256, 1024, 4096, 16384, 65536, 131072, 262144};
};

template <class Buckets>
struct Histogram {
  std::uint64_t count = 0;
  double sum = 0;
  std::array<std::uint64_t, Buckets::kUpTo.size()>
      within{};  // each value once; above the last: only in `count`

  void add(double value) {
    ++count;
    sum += value;
    const auto at = std::lower_bound(Buckets::kUpTo.begin(), Buckets::kUpTo.end(), value);
    if (at != Buckets::kUpTo.end()) ++within[static_cast<std::size_t>(at - Buckets::kUpTo.begin())];
  }
  // Upper edge of the bucket it lies in; the last edge for what is above all.
  double quantile(double q) const {
    const double wanted = q * static_cast<double>(count);
    double seen = 0;
    for (std::size_t i = 0; i < within.size(); ++i) {
      seen += static_cast<double>(within[i]);
      if (seen >= wanted && within[i] != 0) return Buckets::kUpTo[i];
    }
    return count == 0 ? 0 : Buckets::kUpTo.back();
  }
};

using Seconds = Histogram<SecondsBuckets>;
using Bytes = Histogram<BytesBuckets>;

}  // namespace decklog::observability
