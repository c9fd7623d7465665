// Pulling: progress as it comes, credentials for this one exchange only, and the digest checked before
// success is said.
#include <chrono>

#include "services/runtime/docker_core.hpp"
#include "services/runtime/json_fields.hpp"
#include "services/runtime/posix.hpp"

namespace decklog::runtime {
namespace {

constexpr auto kProgressPeriod = std::chrono::milliseconds(250);
constexpr std::size_t kProgressLineLimitBytes = 1 << 20;

}  // namespace

struct DockerCore::Pull {
  ModuleSpec spec;
  ImageName name;
  std::function<void(const PullProgress&)> progress;
  Callback<PullResult> done;
  Operation operation = std::make_shared<DockerOperation>();
  LineBuffer lines{kProgressLineLimitBytes};
  PullMeter meter;
  std::chrono::steady_clock::time_point told;
};

namespace {

PullResult pull_result(const ImageFacts& image, const ModuleSpec& spec, const ImageName& name) {
  PullResult result;
  result.image_id = image.id;
  result.bytes = image.bytes;
  result.digest = spec.digest;
  for (const auto& known : image.repository_digests) {
    const auto at = known.find('@');
    if (at == std::string::npos || !result.digest.empty()) continue;
    if (known.substr(0, at) == name.repository || image.repository_digests.size() == 1) {
      result.digest = known.substr(at + 1);
    }
  }
  return result;
}

}  // namespace

Handle DockerCore::pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
                        Callback<PullResult> done) {
  auto pull = std::make_shared<Pull>();
  pull->spec = spec;
  pull->name = split_image(spec.image);
  pull->progress = std::move(progress);
  pull->done = std::move(done);
  // A digest names its content: an image that has it and is here needs no registry. A tag may have moved:
  // ask.
  const bool pinned = !spec.digest.empty() || !pull->name.digest.empty();
  if (!pinned && spec.pull_policy != PullPolicy::kNever) {
    pull_from_registry(pull);
    return operation_handle(pull->operation);
  }
  image_for(pull->operation, spec, [this, pull](Result<ImageFacts> here) {
    if (here) return pull->done(pull_result(*here, pull->spec, pull->name));
    const bool may_pull = pull->spec.pull_policy != PullPolicy::kNever;
    // The tag that is here has other content: the registry may have the right one.
    const bool other_content = here.error().code == Errc::kCorrupt && pull->name.digest.empty();
    if (may_pull && (here.error().code == Errc::kNotFound || other_content)) return pull_from_registry(pull);
    pull->done(here.error());
  });
  return operation_handle(pull->operation);
}

void DockerCore::pull_from_registry(std::shared_ptr<Pull> pull) {
  const ImageName& name = pull->name;
  std::string tag = pull->spec.digest;
  if (tag.empty()) tag = name.digest;
  if (tag.empty()) tag = name.tag.empty() ? "latest" : name.tag;
  EngineRequest asked = request(
      "POST", "/images/create?fromImage=" + encode_query(name.repository) + "&tag=" + encode_query(tag));
  asked.deadline = {};
  asked.idle = options_.pull_idle;
  if (pull->spec.credential) asked.registry_auth = registry_auth(*pull->spec.credential);
  stream(
      pull->operation, std::move(asked),
      [pull](std::string_view bytes) {
        std::vector<std::string> lines;
        if (!pull->lines.feed(bytes, lines)) return false;
        for (const auto& line : lines) {
          if (!pull->meter.feed(line)) return false;
        }
        const auto now = std::chrono::steady_clock::now();
        if (pull->progress && now - pull->told >= kProgressPeriod) {
          pull->told = now;
          const auto progress = pull->progress;  // a copy: the callee may drop the handle
          progress(pull->meter.progress());
        }
        return true;
      },
      [this, pull](Reply reply) { pull_ended(pull, std::move(reply)); });
}

void DockerCore::pull_ended(std::shared_ptr<Pull> pull, Reply reply) {
  if (!reply) {
    if (reply.error().code == Errc::kCancelled) {
      return pull->done(engine_unavailable("the container engine's pull progress makes no sense"));
    }
    return pull->done(reply.error());
  }
  std::string failure = pull->meter.error();
  if (!reply->ok()) failure = engine_message(reply->body);
  if (!failure.empty() || !reply->ok()) {
    if (failure.empty()) failure = "the container engine answers " + std::to_string(reply->status);
    const Error why = classify_pull_error(redact(failure, pull->spec), pull->spec.image);
    if (why.code == Errc::kNotFound && !pull->spec.digest.empty()) return explain_missing_digest(pull, why);
    return pull->done(why);
  }
  image_for(pull->operation, pull->spec, [pull](Result<ImageFacts> image) {
    if (!image) return pull->done(image.error());
    pull->done(pull_result(*image, pull->spec, pull->name));
  });
}

// The registry does not have that digest. Is the image of that name another one (refuse for good), or not
// there?
void DockerCore::explain_missing_digest(std::shared_ptr<Pull> pull, Error why) {
  EngineRequest asked = request("GET", "/distribution/" + encode_query(pull->spec.image) + "/json");
  if (pull->spec.credential) asked.registry_auth = registry_auth(*pull->spec.credential);
  call(pull->operation, std::move(asked), [pull, why](Reply reply) {
    if (!reply || !reply->ok()) return pull->done(why);
    boost::system::error_code failed;
    const auto value = boost::json::parse(reply->body, failed);
    const std::string offered = failed ? "" : text_of(member(member(&value, "Descriptor"), "digest"));
    if (offered.empty()) return pull->done(why);
    pull->done(error(Errc::kCorrupt, "the registry offers " + offered + ", wanted is " + pull->spec.digest,
                     "digest"));
  });
}

}  // namespace decklog::runtime
