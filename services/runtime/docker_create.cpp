// Images that are here, networks, and the making and removing of containers.
#include "services/runtime/docker_core.hpp"
#include "services/runtime/posix.hpp"

namespace decklog::runtime {
namespace {

constexpr int kRemoveAttempts = 50;
constexpr auto kRemovePause = std::chrono::milliseconds(100);
constexpr const char* kSecondName = "decklog-";  // prefix when the plain name belongs to somebody else

}  // namespace

void DockerCore::image(const Operation& operation, const std::string& reference, Callback<ImageFacts> done) {
  call(operation, request("GET", "/images/" + encode_query(reference) + "/json"),
       [reference, done = std::move(done)](Reply reply) {
         if (!reply) return done(reply.error());
         if (reply->status == 404) return done(error(Errc::kNotFound, "the image is not here", reference));
         if (!reply->ok()) return done(engine_refusal(*reply, "inspect image"));
         done(parse_image(reply->body));
       });
}

// The image to run: with a demanded digest only one that has it, whatever the tag says today.
void DockerCore::image_for(const Operation& operation, const ModuleSpec& spec, Callback<ImageFacts> done) {
  if (spec.digest.empty()) return image(operation, spec.image, std::move(done));
  const ImageName name = split_image(spec.image);
  const std::string wanted = spec.digest;
  if (!name.digest.empty() && name.digest != wanted) {
    return later([operation, wanted, done = std::move(done)] {
      if (operation && operation->cancelled) return;
      done(error(Errc::kCorrupt, "the image reference names another digest than " + wanted, "digest"));
    });
  }
  image(
      operation, name.repository + "@" + wanted,
      [this, operation, wanted, tag = spec.image, done = std::move(done)](Result<ImageFacts> found) {
        if (found || found.error().code != Errc::kNotFound) return done(std::move(found));
        image(operation, tag, [wanted, done](Result<ImageFacts> tagged) {
          if (tagged && !has_digest(*tagged, wanted)) {
            return done(error(Errc::kCorrupt, "the image here does not have the digest " + wanted, "digest"));
          }
          done(std::move(tagged));
        });
      });
}

// The engine lets two networks have one name, and then refuses to use either: only one look-and-make at a
// time for each name, shared by all who wait for it.
void DockerCore::ensure_network(const std::string& network, Callback<void> done) {
  auto& waiting = waiting_for_network_[network];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  const auto finish = [this, network](const Status& status) {
    auto node = waiting_for_network_.extract(network);
    for (const auto& callback : node.mapped()) callback(status);
  };
  call(nullptr, request("GET", "/networks/" + encode_query(network)), [this, network, finish](Reply reply) {
    if (!reply) return finish(reply.error());
    if (reply->ok()) return finish({});
    if (reply->status != 404) return finish(engine_refusal(*reply, "look for network " + network));
    call(nullptr, request("POST", "/networks/create", network_body(network, options_.owner)),
         [network, finish](Reply made) {
           if (!made) return finish(made.error());
           // 409: another program's create was faster.
           const bool there = made->ok() || made->status == 409;
           finish(there ? Status{} : Status{engine_refusal(*made, "create network " + network)});
         });
  });
}

void DockerCore::create(const ModuleSpec& given, Callback<Observation> done) {
  const auto spec = std::make_shared<const ModuleSpec>(given);
  facts(nullptr, spec->name, [this, spec, done = std::move(done)](Result<ContainerFacts> found) {
    if (found) {
      if (found->seen.spec_hash == spec->spec_hash) return done(std::move(found->seen));
      return done(error(Errc::kAlreadyExists, "a module with another spec is there", spec->name.value));
    }
    if (found.error().code != Errc::kNotFound) return done(found.error());
    image_for(nullptr, *spec, [this, spec, done](Result<ImageFacts> image) {
      if (!image) return done(image.error());
      auto body = create_body(*spec, options_.owner, spec->digest.empty() ? spec->image : image->id);
      if (!body) {
        Error why = body.error();
        why.code = Errc::kInvalidArgument;
        return done(why);
      }
      const auto make = [this, spec, body = std::move(*body), done](Status ready) {
        if (!ready) return done(ready.error());
        create_container(spec, body, spec->name.value, done);
      };
      if (spec->network.empty()) return make({});
      ensure_network(spec->network, make);
    });
  });
}

void DockerCore::create_container(std::shared_ptr<const ModuleSpec> spec, std::string body, std::string name,
                                  Callback<Observation> done) {
  EngineRequest asked = request("POST", "/containers/create?name=" + encode_query(name), body);
  call(nullptr, std::move(asked),
       [this, spec, body = std::move(body), name, done = std::move(done)](Reply reply) {
         if (!reply) return done(reply.error());
         if (reply->ok()) return inspect(spec->name, done);
         const bool plain_name = name == spec->name.value;
         const std::string said = engine_message(reply->body);
         // A name the engine does not allow ("$edgeAgent") is as good as taken.
         if (plain_name &&
             (reply->status == 409 || said.find("Invalid container name") != std::string::npos)) {
           return name_taken(spec, body, name, done);
         }
         Error why = engine_refusal(*reply, "create");
         why.message = redact(why.message, *spec);
         why.where = spec->name.value;
         if (why.code == Errc::kIo) why.code = Errc::kInvalidArgument;
         done(why);
       });
}

// By us, a moment ago, from another call: then it is made. By anybody else: the second name.
void DockerCore::name_taken(std::shared_ptr<const ModuleSpec> spec, std::string body, const std::string& name,
                            Callback<Observation> done) {
  inspect(spec->name,
          [this, spec, body = std::move(body), name, done = std::move(done)](Result<Observation> ours) {
            if (ours && ours->spec_hash == spec->spec_hash) return done(std::move(ours));
            if (ours) return done(error(Errc::kAlreadyExists, "a module with another spec is there", name));
            if (ours.error().code != Errc::kNotFound) return done(ours.error());
            std::string second = kSecondName + name;
            std::erase(second, '$');
            create_container(spec, body, second, done);
          });
}

void DockerCore::remove(const ModuleName& name, Callback<void> done) {
  if (auto ok = check_module_name(name); !ok) {
    return later([why = ok.error(), done = std::move(done)] { done(why); });
  }
  resolve(nullptr, name, [this, name, done = std::move(done)](Result<std::vector<std::string>> ids) {
    if (!ids) return done(ids.error());
    remove_next(std::make_shared<std::vector<std::string>>(std::move(*ids)), 0,
                [this, name, done](Status removed) {
                  if (removed) publish_absent(name);
                  done(std::move(removed));
                });
  });
}

void DockerCore::remove_next(std::shared_ptr<std::vector<std::string>> ids, int attempt,
                             Callback<void> done) {
  if (ids->empty()) return done({});
  // v=1: anonymous volumes go too, or they fill the disk over the years.
  call(nullptr, request("DELETE", "/containers/" + ids->back() + "?force=1&v=1"),
       [this, ids, attempt, done = std::move(done)](Reply reply) {
         if (!reply) return done(reply.error());
         if (reply->ok() || reply->status == 404) {
           ids->pop_back();
           return remove_next(ids, 0, done);
         }
         // 409: "removal is already in progress".
         if (reply->status != 409 || attempt >= kRemoveAttempts)
           return done(engine_refusal(*reply, "remove"));
         const auto timer = std::make_shared<boost::asio::steady_timer>(executor_, kRemovePause);
         timer->async_wait([this, timer, ids, attempt, done, alive = std::weak_ptr<bool>(alive_)](auto) {
           if (alive.lock()) remove_next(ids, attempt + 1, done);
         });
       });
}

}  // namespace decklog::runtime
