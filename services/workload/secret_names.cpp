// Which names and texts are taken for secrets. See redact.hpp.
#include <array>

#include "services/workload/redact.hpp"

namespace decklog::workload {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || is_upper(c) || (c >= '0' && c <= '9');
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

// "primaryKey", "PRIMARY_KEY", "primary-key" -> primary, key. Digits at the end of a word are dropped
// ("key2").
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words;
  std::string word;
  const auto flush = [&] {
    while (!word.empty() && word.back() >= '0' && word.back() <= '9') word.pop_back();
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (!is_word(name[i])) {
      flush();
      continue;
    }
    const bool begins =
        is_upper(name[i]) && i > 0 &&
        (!is_upper(name[i - 1]) || (i + 1 < name.size() && name[i + 1] >= 'a' && name[i + 1] <= 'z'));
    if (begins) flush();
    word += lower(name[i]);
  }
  flush();
  return words;
}

template <std::size_t N>
bool contains_any(std::string_view text, const std::array<std::string_view, N>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return text.find(part) != text.npos; });
}

// Written together or apart, anywhere in the name.
constexpr std::array<std::string_view, 12> kNameParts = {
    "password",  "passwd",     "passphrase", "secret", "sharedaccess", "connectionstring",
    "accesskey", "privatekey", "accountkey", "apikey", "connstr",      "authtoken"};
// Only as a word of its own: "key", not "monkey"; "sas", not "disaster".
constexpr std::array<std::string_view, 17> kNameWords = {
    "pwd",  "pass",  "token",         "tokens", "key", "keys",   "sas",    "credential", "credentials",
    "cred", "creds", "authorization", "auth",   "pin", "bearer", "cookie", "signature"};

constexpr std::array<std::string_view, 10> kTextParts = {
    "sharedaccesskey=", "sharedaccesssignature", "accountkey=",    "sharedaccesskeyname=", "-----begin",
    "bearer ",          "private key-----",      "authorization:", "x-api-key:",           "aws_secret"};

// "scheme://user:password@host"
bool has_user_info(std::string_view text) {
  for (std::size_t at = text.find("://"); at != text.npos; at = text.find("://", at + 3)) {
    const std::string_view rest = text.substr(at + 3);
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?# \t\r\n\"'"));
    const std::size_t sign = authority.rfind('@');
    if (sign != authority.npos && authority.substr(0, sign).find(':') != authority.npos) return true;
  }
  return false;
}

// "name=value" or "name: value" anywhere, with a name that says secret: query strings, flags, connection
// strings.
bool has_secret_pair(std::string_view text) {
  for (std::size_t at = text.find('='); at != text.npos; at = text.find('=', at + 1)) {
    std::size_t from = at;
    while (from > 0 && (is_word(text[from - 1]) || text[from - 1] == '_' || text[from - 1] == '-')) --from;
    const bool compared = at + 1 < text.size() && text[at + 1] == '=';  // not an assignment
    if (from < at && at + 1 < text.size() && !compared && text[at + 1] != ' ' &&
        (is_secret_name(text.substr(from, at - from)) || lower(text.substr(from, at - from)) == "sig")) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool is_secret_name(std::string_view name) {
  std::string joined;
  for (const char c : name) {
    if (is_word(c)) joined += lower(c);
  }
  if (contains_any(joined, kNameParts)) return true;
  for (const auto& word : words_of(name)) {
    if (std::find(kNameWords.begin(), kNameWords.end(), word) != kNameWords.end()) return true;
  }
  return false;
}

bool looks_secret(std::string_view text) {
  return contains_any(lower(text), kTextParts) || has_user_info(text) || has_secret_pair(text);
}

}  // namespace decklog::workload
