// Docker image references: [registry[:port]/]name[/name...][:tag][@sha256:...].
#include <cctype>

#include "events/utf8.hpp"
#include "services/agent/deployment.hpp"

namespace decklog::agent {
namespace {

bool name_part(std::string_view part) {
  if (part.empty()) return false;
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (!plain(part.front()) || !plain(part.back())) return false;
  return std::all_of(part.begin(), part.end(),
                     [&](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

bool registry_part(std::string_view part) {
  const auto colon = part.rfind(':');
  if (colon != std::string_view::npos) {
    const auto port = part.substr(colon + 1);
    if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string_view::npos)
      return false;
    part = part.substr(0, colon);
  }
  return !part.empty() && std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '-';
  });
}

bool tag_part(std::string_view tag) {
  if (tag.empty() || tag.size() > 128 || tag.front() == '.' || tag.front() == '-') return false;
  return std::all_of(tag.begin(), tag.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; });
}

// Docker's rule: the first part is a registry when it has a dot or a port, or is localhost.
bool looks_like_registry(std::string_view part) {
  return part == "localhost" || part.find('.') != std::string_view::npos ||
         part.find(':') != std::string_view::npos;
}

// What a refusal may quote: somebody who writes user:password@registry/name does not want to read it in a
// log.
std::string_view without_credentials(std::string_view reference) {
  const auto at = reference.rfind('@');
  const bool in_front = at != std::string_view::npos && reference.find('/', at) != std::string_view::npos;
  return in_front ? reference.substr(at + 1) : reference;
}

}  // namespace

Result<std::string> normalise_image(std::string_view reference) {
  const auto refuse = [&](const char* why) {
    return error(Errc::kMalformed, std::string("not an image reference (") + why + "): '" +
                                       printable(without_credentials(reference), 128) + "'");
  };
  if (reference.empty() || reference.size() > 512) return refuse("empty or longer than 512 characters");
  std::string_view rest = reference, digest, tag;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (digest.size() != 71 || !digest.starts_with("sha256:") ||
        digest.find_first_not_of("0123456789abcdef", 7) != std::string_view::npos) {
      return refuse("digest");
    }
  }
  const auto slash = rest.rfind('/');
  if (const auto colon = rest.rfind(':');
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!tag_part(tag)) return refuse("tag");
  }
  std::string_view path = rest;
  if (const auto first = path.find('/');
      first != std::string_view::npos && looks_like_registry(path.substr(0, first))) {
    if (!registry_part(path.substr(0, first))) return refuse("registry");
    path = path.substr(first + 1);
  }
  while (true) {
    const auto next = path.find('/');
    if (!name_part(path.substr(0, next)))
      return refuse("name: lower-case letters, digits and . _ - between slashes");
    if (next == std::string_view::npos) break;
    path = path.substr(next + 1);
  }
  std::string normal(reference);
  if (tag.empty() && digest.empty()) normal += ":latest";
  return normal;
}

std::string registry_of(std::string_view image) {
  const auto slash = image.find('/');
  if (slash != std::string_view::npos && looks_like_registry(image.substr(0, slash)))
    return std::string(image.substr(0, slash));
  return "docker.io";
}

}  // namespace decklog::agent
