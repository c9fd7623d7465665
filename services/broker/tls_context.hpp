// The server side of TLS 1.2 and 1.3 for any number of listeners, replaceable while they run: handshakes that
// begin after reload() use the new certificate, connections that exist keep theirs. OpenSSL reads and writes
// the socket itself (SSL_set_fd), and gives its buffers back between records: an idle connection costs about
// 15 KB instead of 67 KB with a BIO pair. Owner: shared by listeners. Thread: the engine's. Private keys are
// never logged.
#pragma once

#include <memory>
#include <string>

#include "events/result.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace decklog::broker {

struct TlsMaterial final {
  std::string certificate_chain_pem;  // leaf first, then intermediates
  std::string private_key_pem;
  std::string client_ca_pem;  // roots for client certificates; empty = none is ever `chain_verified`
  bool ask_for_client_certificate = true;  // optional either way; the policy decides what it is worth
};

class TlsContext final {
 public:
  static Result<std::shared_ptr<TlsContext>> make(const TlsMaterial& material);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // On failure the old material stays in use.
  Status reload(const TlsMaterial& material);

  // A server-side session on the descriptor, which it does not own. Null when out of memory.
  ssl_st* new_session(int descriptor) const;

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

// Reads the three files; `client_ca` may be empty.
struct TlsFiles final {
  std::string certificate_chain;
  std::string private_key;
  std::string client_ca;
};
Result<TlsMaterial> read_tls_files(const TlsFiles& files);

}  // namespace decklog::broker
