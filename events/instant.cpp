#include "events/instant.hpp"

#include <array>
#include <cctype>
#include <cstdio>

namespace decklog {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t ns;
};
constexpr std::array<Unit, 7> kUnits{{{"d", 86'400'000'000'000},
                                      {"h", 3'600'000'000'000},
                                      {"m", 60'000'000'000},
                                      {"s", 1'000'000'000},
                                      {"ms", 1'000'000},
                                      {"us", 1'000},
                                      {"ns", 1}}};

bool read_digits(std::string_view& text, int count, int& out) {
  if (static_cast<int>(text.size()) < count) return false;
  out = 0;
  for (int i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    out = out * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool read_char(std::string_view& text, char wanted) {
  if (text.empty() || std::toupper(static_cast<unsigned char>(text[0])) != wanted) return false;
  text.remove_prefix(1);
  return true;
}

// Fraction of a second, at most nine digits kept.
bool read_fraction(std::string_view& text, std::int64_t& ns) {
  std::int64_t scale = 100'000'000;
  std::size_t used = 0;
  for (; used < text.size() && std::isdigit(static_cast<unsigned char>(text[used])); ++used) {
    ns += (text[used] - '0') * scale;
    scale /= 10;
  }
  text.remove_prefix(used);
  return used > 0;
}

bool read_offset(std::string_view& text, std::int64_t& seconds) {
  if (read_char(text, 'Z')) return true;
  const bool minus = !text.empty() && text[0] == '-';
  if (!read_char(text, '+') && !read_char(text, '-')) return false;
  int hours = 0, minutes = 0;
  if (!read_digits(text, 2, hours) || !read_char(text, ':') || !read_digits(text, 2, minutes)) return false;
  seconds = (hours * 60 + minutes) * 60 * (minus ? -1 : 1);
  return hours <= 23 && minutes <= 59;
}

}  // namespace

std::string to_rfc3339(WallTime time) {
  if (time.ns == 0) return "never";
  using namespace std::chrono;
  const sys_time<nanoseconds> point{nanoseconds(time.ns)};
  const auto day = floor<days>(point);
  const year_month_day date{day};
  const hh_mm_ss clock{floor<microseconds>(point - day)};
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02ld:%02ld:%02ld.%06ldZ", int(date.year()),
                unsigned(date.month()), unsigned(date.day()), long(clock.hours().count()),
                long(clock.minutes().count()), long(clock.seconds().count()),
                long(clock.subseconds().count()));
  return text;
}

Result<WallTime> parse_rfc3339(std::string_view text) {
  const std::string original(text);
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  std::int64_t ns = 0, offset = 0;
  const bool ok = read_digits(text, 4, year) && read_char(text, '-') && read_digits(text, 2, month) &&
                  read_char(text, '-') && read_digits(text, 2, day) && read_char(text, 'T') &&
                  read_digits(text, 2, hour) && read_char(text, ':') && read_digits(text, 2, minute) &&
                  read_char(text, ':') && read_digits(text, 2, second) &&
                  (!read_char(text, '.') || read_fraction(text, ns)) && read_offset(text, offset) &&
                  text.empty();
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(year), std::chrono::month(unsigned(month)),
                            std::chrono::day(unsigned(day))};
  // Nanoseconds in 64 bits reach from 1677 to 2262.
  const bool in_range = year >= 1678 && year <= 2261;
  if (!ok || !in_range || !date.ok() || hour > 23 || minute > 59 || second > 60) {
    return error(Errc::kMalformed, "not an RFC 3339 time: '" + original + "'");
  }
  const auto seconds = sys_days(date).time_since_epoch() + hours(hour) + minutes(minute) +
                       std::chrono::seconds(second - offset);
  return WallTime{duration_cast<nanoseconds>(seconds).count() + ns};
}

std::string to_text(Duration duration) {
  if (duration.count() == 0) return "0s";
  const bool negative = duration.count() < 0;
  std::string text = negative ? "-" : "";
  // Unsigned: the least number has no positive twin.
  std::uint64_t rest = static_cast<std::uint64_t>(duration.count());
  if (negative) rest = 0 - rest;
  int parts = 0;
  for (const Unit& unit : kUnits) {
    const auto size = static_cast<std::uint64_t>(unit.ns);
    if (rest < size || parts == 2) continue;
    text += std::to_string(rest / size) + std::string(unit.name);
    rest %= size;
    ++parts;
  }
  return text;
}

Result<Duration> parse_duration(std::string_view text) {
  const std::string original(text);
  const auto refuse = [&] {
    return error(Errc::kMalformed, "not a duration such as 10s or 1m30s: '" + original + "'");
  };
  if (text.empty()) return refuse();
  std::int64_t total = 0;
  while (!text.empty()) {
    std::int64_t number = 0;
    std::size_t digits = 0;
    while (digits < text.size() && std::isdigit(static_cast<unsigned char>(text[digits])) && digits < 12) {
      number = number * 10 + (text[digits++] - '0');
    }
    text.remove_prefix(digits);
    std::size_t letters = 0;
    while (letters < text.size() && std::isalpha(static_cast<unsigned char>(text[letters]))) ++letters;
    const Unit* found = nullptr;
    for (const Unit& unit : kUnits) {
      if (text.substr(0, letters) == unit.name) found = &unit;
    }
    std::int64_t part = 0;
    if (digits == 0 || !found || __builtin_mul_overflow(number, found->ns, &part) ||
        __builtin_add_overflow(total, part, &total)) {
      return refuse();
    }
    text.remove_prefix(letters);
  }
  return Duration(total);
}

}  // namespace decklog
