// Values by labels, however many clients there are: beyond kMaxSeries distinct keys everything else shares
// one value whose labels say "other", so that a page and our memory stay small. The first `Kept` labels are
// taken from small closed sets (a reason, a source) and stay true there too. One owner; not copied.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>

namespace decklog::observability {

inline constexpr std::size_t kMaxSeries = 500;  // of one family
inline constexpr std::string_view kOtherSeries = "other";

template <std::size_t Labels, class Value, std::size_t Kept = 0>
class Series final {
 public:
  using Key = std::array<std::string, Labels>;
  using View = std::array<std::string_view, Labels>;

  Series() = default;
  Series(const Series&) = delete;
  Series& operator=(const Series&) = delete;

  // Stays where it is for as long as the series lives.
  Value& at(const View& key) {
    if (last_ && std::equal(key.begin(), key.end(), last_->first.begin())) return last_->second;
    auto found = values_.find(key);
    if (found == values_.end()) {
      View used = key;
      if (values_.size() >= kMaxSeries) std::fill(used.begin() + Kept, used.end(), kOtherSeries);
      Key made;
      std::copy(used.begin(), used.end(), made.begin());
      found = values_.try_emplace(std::move(made)).first;
    }
    last_ = &*found;
    return found->second;
  }
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }
  std::size_t size() const { return values_.size(); }

 private:
  struct Less {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
    }
  };
  std::map<Key, Value, Less> values_;
  typename std::map<Key, Value, Less>::value_type* last_ = nullptr;  // messages come in runs of one sender
};

}  // namespace decklog::observability
