#include "services/runtime/docker_core.hpp"

#include <algorithm>
#include <charconv>

#include "services/runtime/json_fields.hpp"
#include "services/runtime/posix.hpp"

namespace decklog::runtime {
namespace {

constexpr int kApiOldest = 40;  // v1.40
constexpr int kApiNewest = 44;
constexpr std::size_t kEventLineLimitBytes = 1 << 20;

// "1.41" -> 41; -1 when it is not of the form.
int minor_version(const std::string& text) {
  int minor = -1;
  if (!text.starts_with("1.")) return -1;
  std::from_chars(text.data() + 2, text.data() + text.size(), minor);
  return minor;
}

}  // namespace

Error engine_refusal(const EngineReply& reply, const std::string& what) {
  const std::string message = what + ": " + engine_message(reply.body);
  switch (reply.status) {
    case 400:
      return error(Errc::kInvalidArgument, message);
    case 401:
      return error(Errc::kUnauthenticated, message);
    case 403:
      return error(Errc::kPermissionDenied, message);
    case 404:
      return error(Errc::kNotFound, message);
    case 409:
      return error(Errc::kConflict, message);
    case 503:
      return engine_unavailable(message);
    default:
      break;
  }
  if (message.find("no space left") != std::string::npos) return error(Errc::kNoSpace, message);
  return error(Errc::kIo, message);
}

DockerCore::DockerCore(boost::asio::any_io_executor executor, DockerOptions options)
    : executor_(executor),
      options_(std::move(options)),
      event_lines_(kEventLineLimitBytes),
      retry_timer_(executor),
      relist_timer_(executor),
      client_(executor, options_.socket_path) {}

DockerCore::~DockerCore() {
  alive_.reset();
}

EngineRequest DockerCore::request(std::string method, std::string target, std::string body) const {
  EngineRequest made;
  made.method = std::move(method);
  made.target = std::move(target);
  made.body = std::move(body);
  made.deadline = options_.call_deadline;
  return made;
}

void DockerCore::call(const Operation& operation, EngineRequest asked, EngineClient::Done done) {
  stream(operation, std::move(asked), nullptr, std::move(done));
}

void DockerCore::stream(const Operation& operation, EngineRequest asked, EngineClient::Data data,
                        EngineClient::Done done) {
  with_version([this, operation, asked = std::move(asked), data = std::move(data),
                done = std::move(done)](Status ready) mutable {
    if (operation && operation->cancelled) return;
    if (!ready) return done(ready.error());
    asked.target = version_ + asked.target;
    auto cancel = client_.stream(std::move(asked), std::move(data),
                                 [this, operation, done = std::move(done)](Reply reply) {
                                   if (!reply && reply.error().where == "engine") suspect();
                                   if (operation && operation->cancelled) return;
                                   done(std::move(reply));
                                 });
    if (operation) operation->current = std::move(cancel);
  });
}

// All that wait share one question. Asked again after every loss: the engine may come back as another
// version.
void DockerCore::with_version(std::function<void(Status)> ready) {
  if (!version_.empty()) return ready({});
  waiting_for_version_.push_back(std::move(ready));
  if (waiting_for_version_.size() > 1) return;
  EngineRequest asked = request("GET", "/version");
  asked.deadline = options_.check_deadline;
  client_.call(std::move(asked), [this](Reply reply) { negotiated(std::move(reply)); });
}

void DockerCore::negotiated(Reply reply) {
  Status outcome = {};
  if (!reply) {
    outcome = reply.error();
  } else if (!reply->ok()) {
    outcome = engine_unavailable("the container engine answers " + std::to_string(reply->status) +
                                 " when asked for its version");
  } else {
    boost::system::error_code failed;
    const auto value = boost::json::parse(reply->body, failed);
    const int newest = failed ? -1 : minor_version(text_of(member(&value, "ApiVersion")));
    const int oldest = failed ? -1 : minor_version(text_of(member(&value, "MinAPIVersion"), "1.12"));
    if (newest < 0) {
      outcome = engine_unavailable("the container engine's answer to /version makes no sense");
    } else if (newest < kApiOldest) {
      outcome =
          error(Errc::kUnsupported,
                "the container engine speaks API 1." + std::to_string(newest) + ", needed is 1.40", "engine");
    } else {
      version_ = "/v1." + std::to_string(std::max(oldest, std::min(newest, kApiNewest)));
    }
  }
  for (const auto& ready : std::exchange(waiting_for_version_, {})) ready(outcome);
}

void DockerCore::resolve(const Operation& operation, const ModuleName& name,
                         Callback<std::vector<std::string>> done) {
  const std::string filter = label_filter({{kOwnerLabel, options_.owner}, {kModuleLabel, name.value}});
  call(operation, request("GET", "/containers/json?all=1&filters=" + filter),
       [name, done = std::move(done)](Reply reply) {
         if (!reply) return done(reply.error());
         if (!reply->ok()) return done(engine_refusal(*reply, "look for " + name.value));
         auto entries = parse_containers(reply->body);
         if (!entries) return done(entries.error());
         std::vector<std::string> ids;
         for (const auto& entry : *entries) {
           // Checked here too: an engine that does not understand the filter must not hand us strangers.
           if (entry.module == name) ids.push_back(entry.id);
         }
         done(std::move(ids));
       });
}

void DockerCore::facts_by_id(const Operation& operation, const std::string& id,
                             Callback<ContainerFacts> done) {
  call(operation, request("GET", "/containers/" + encode_query(id) + "/json"),
       [done = std::move(done)](Reply reply) {
         if (!reply) return done(reply.error());
         if (!reply->ok()) return done(engine_refusal(*reply, "inspect"));
         done(parse_container(reply->body));
       });
}

void DockerCore::facts(const Operation& operation, const ModuleName& name, Callback<ContainerFacts> done) {
  if (auto ok = check_module_name(name); !ok) {
    return later([operation, why = ok.error(), done = std::move(done)] {
      if (!operation || !operation->cancelled) done(why);
    });
  }
  resolve(operation, name,
          [this, operation, name, done = std::move(done)](Result<std::vector<std::string>> ids) {
            if (!ids) return done(ids.error());
            if (ids->empty()) return done(no_module(name));
            facts_by_id(operation, ids->front(), [name, done](Result<ContainerFacts> found) {
              if (!found && found.error().code == Errc::kNotFound) return done(no_module(name));
              done(std::move(found));
            });
          });
}

void DockerCore::inspect(const ModuleName& name, Callback<Observation> done) {
  facts(nullptr, name, [done = std::move(done)](Result<ContainerFacts> found) {
    if (!found) return done(found.error());
    done(std::move(found->seen));
  });
}

void DockerCore::address(const ModuleName& name, Callback<std::string> done) {
  facts(nullptr, name, [name, done = std::move(done)](Result<ContainerFacts> found) {
    if (!found) return done(found.error());
    if (found->network_mode == "host") return done(std::string("127.0.0.1"));
    if (!found->address.empty()) return done(found->address);
    done(error(Errc::kConflict, "the module has no network address now", name.value));
  });
}

void DockerCore::list(Callback<std::vector<Observation>> done) {
  const std::string filter = label_filter({{kOwnerLabel, options_.owner}});
  call(nullptr, request("GET", "/containers/json?all=1&filters=" + filter),
       [this, done = std::move(done)](Reply reply) {
         if (!reply) return done(reply.error());
         if (!reply->ok()) return done(engine_refusal(*reply, "list containers"));
         auto entries = parse_containers(reply->body);
         if (!entries) return done(entries.error());
         gather(std::make_shared<std::vector<ContainerEntry>>(std::move(*entries)),
                std::make_shared<std::vector<Observation>>(), done);
       });
}

// One after the other: a list of a hundred modules must not open a hundred connections at once.
void DockerCore::gather(std::shared_ptr<std::vector<ContainerEntry>> todo,
                        std::shared_ptr<std::vector<Observation>> found,
                        Callback<std::vector<Observation>> done) {
  if (todo->empty()) return done(std::move(*found));
  const ContainerEntry entry = todo->back();
  todo->pop_back();
  facts_by_id(nullptr, entry.id, [this, todo, found, done](Result<ContainerFacts> facts) {
    if (!facts && facts.error().code != Errc::kNotFound) return done(facts.error());
    if (facts) found->push_back(std::move(facts->seen));
    gather(todo, found, done);
  });
}

void DockerCore::start_module(const ModuleName& name, Callback<Observation> done) {
  facts(nullptr, name, [this, name, done = std::move(done)](Result<ContainerFacts> found) {
    if (!found) return done(found.error());
    if (found->seen.presence == Presence::kRunning) return done(std::move(found->seen));
    call(nullptr, request("POST", "/containers/" + found->id + "/start"), [this, name, done](Reply reply) {
      if (!reply) return done(reply.error());
      if (!reply->ok() && reply->status != 304) {
        Error why = engine_refusal(*reply, "start");
        why.where = name.value;
        // The engine says 400, 404, 409 or 500 for a program that cannot be run, by version.
        const std::string& text = why.message;
        for (const char* sign : {"executable file not found", "no such file or directory",
                                 "permission denied", "exec format error"}) {
          if (text.find(sign) != std::string::npos) why.code = Errc::kInvalidArgument;
        }
        return done(why);
      }
      inspect(name, done);
    });
  });
}

void DockerCore::stop_module(const ModuleName& name, Duration timeout, Callback<Observation> done) {
  facts(nullptr, name, [this, name, timeout, done = std::move(done)](Result<ContainerFacts> found) {
    if (!found) return done(found.error());
    const Presence presence = found->seen.presence;
    if (presence == Presence::kExited || presence == Presence::kCreated || presence == Presence::kDead) {
      return done(std::move(found->seen));
    }
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(std::max(timeout, Duration(0)));
    EngineRequest asked =
        request("POST", "/containers/" + found->id + "/stop?t=" + std::to_string(seconds.count()));
    asked.deadline = seconds + options_.call_deadline;
    call(nullptr, std::move(asked), [this, name, done](Reply reply) {
      if (!reply) return done(reply.error());
      if (!reply->ok() && reply->status != 304) return done(engine_refusal(*reply, "stop " + name.value));
      inspect(name, done);
    });
  });
}

}  // namespace decklog::runtime
