// RocksDB's status in the project's words. Private to persistence.
#pragma once

#include <rocksdb/status.h>

#include "events/result.hpp"

namespace decklog::persistence {

Error store_error(const rocksdb::Status& status);

}  // namespace decklog::persistence
