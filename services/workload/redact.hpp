// The form of a deployment (or any twin document) that may be logged, reported and exported. Pure; any
// thread.
//
// Secrets become keyed digests in place: the document keeps its shape and types, equal values stay equal, so
// a parser and a planner come to the same verdicts and the same spec hashes from the redacted form on every
// reading. Taken for secret:
//   * every value below an `env` object, every "NAME=value" of an `Env` array, registry passwords;
//   * values under names that say so (password, secret, token, key, sas, credential, connectionString, ...),
//   and
//     inside `settings` everything below such a name;
//   * texts that look so: connection strings, SAS tokens, private keys, user:password@ in addresses, and the
//     argument after --password and the like in `command`, `Cmd`, `Entrypoint` and health checks;
//   * the same inside JSON that is kept as text; createOptions is put together from its chunks first, and
//   when it is
//     not JSON its whole text is a secret.
// A public text that is digested by mistake costs readability; a secret that is not costs the device.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "events/result.hpp"
#include "services/workload/device_keys.hpp"

namespace decklog::workload {

inline constexpr std::size_t kMaxRedactBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kMaxRedactDepth = 64;

// kMalformed when it is not a JSON document (nothing of it may be logged then), kTooLarge.
Result<std::string> redact(std::string_view json, const KeyedDigest& digests);

// Which of `secrets` (by index) appear in `text`: as they are, JSON-escaped, percent-encoded, base64 or hex.
// For checks of journals, logs and exports. Secrets of less than 4 bytes are not looked for.
std::vector<std::size_t> find_secrets(std::string_view text, const std::vector<std::string>& secrets);

// "password", "primaryKey", "AZURE_CLIENT_SECRET", "sasToken": does this name say that its value is a secret?
bool is_secret_name(std::string_view name);
// "HostName=..;SharedAccessKey=..", "postgres://u:p@host", "-----BEGIN PRIVATE KEY-----", "--token=abc"
bool looks_secret(std::string_view text);

}  // namespace decklog::workload
