// Bounds of the head, each with its unit and what happens beyond it. Private to services/hub.
#pragma once

#include <cstddef>

#include "events/instant.hpp"

namespace decklog::hub {

inline constexpr std::size_t kMaxTelemetryBytes = 256 * 1024;  // body; beyond: the connection is closed
inline constexpr std::size_t kMaxBagOutBytes = 60 * 1024;      // properties, encoded; beyond: closed
inline constexpr std::size_t kMaxTwinGetsPerClient = 64;       // waiting for the fleet; beyond: error 429
inline constexpr std::size_t kMaxLookups = 64;           // identities being asked for; beyond: CONNACK 3
inline constexpr std::size_t kMaxWaitingPerLookup = 16;  // connects waiting for one; beyond: CONNACK 3
inline constexpr std::size_t kMaxRemembered = 4096;      // entries of a table of recent events; the oldest go
inline constexpr std::size_t kMaxMethods = 1024;         // calls under way; beyond: 429
inline constexpr std::size_t kMaxMethodsPerClient = 64;  // beyond: 429
inline constexpr std::size_t kMaxMethodPayloadBytes = 128 * 1024;  // beyond: 400
inline constexpr std::size_t kMaxMethodNameBytes = 100;            // beyond: 400
inline constexpr std::size_t kMaxCloudMessages = 1024;      // not acknowledged by clients; beyond: later
inline constexpr std::uint64_t kMaxCloudTries = 10;         // connections that ended over it; then rejected
inline constexpr std::size_t kMaxTwinPuts = 32;             // reported documents on their way upstream
inline constexpr std::size_t kMaxListedSubscriptions = 64;  // per client, for people

inline constexpr Duration kAskUnknownEvery = std::chrono::seconds(5);   // per identity
inline constexpr Duration kAskRekeyedEvery = std::chrono::seconds(30);  // per identity whose signature is bad
inline constexpr Duration kLookupDeadline = std::chrono::seconds(8);    // below the broker's for CONNECT
inline constexpr Duration kTwinFetchDeadline =
    std::chrono::seconds(5);  // then a GET is answered with what is here
inline constexpr Duration kTwinRetryFirst = std::chrono::seconds(5);
inline constexpr Duration kTwinRetryCap = std::chrono::minutes(5);
inline constexpr Duration kCloudMessageHeld =
    std::chrono::seconds(45);  // below the fleet's wait for a verdict
inline constexpr Duration kMethodTimeout =
    std::chrono::seconds(30);  // for an answer, when the caller says none
inline constexpr Duration kMethodTimeoutMax = std::chrono::seconds(300);
inline constexpr Duration kAdmittedWait = std::chrono::seconds(30);  // verdict to CONNACK
inline constexpr Duration kSameRemarkEvery = std::chrono::seconds(60);
inline constexpr Duration kRefusalLogWindow = std::chrono::seconds(60);
inline constexpr Duration kStormLogWindow = std::chrono::seconds(10);
inline constexpr int kCutsWritten = 2;     // of a client whose messages are not taken; then counted
inline constexpr int kQuietConnects = 20;  // in kStormLogWindow; faster ones are written: a storm may begin
inline constexpr Duration kBackForGood = std::chrono::seconds(10);  // connected so long: written
inline constexpr int kRefusalsLoggedPerWindow = 2;                  // per client; the rest is counted

}  // namespace decklog::hub
