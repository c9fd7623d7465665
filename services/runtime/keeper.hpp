// The keeper: one small process per module of the process runtime, as containerd's shim is for a container.
// It starts the module, captures its output, and writes down how it ended; it outlives the agent (own
// session, double fork), so that a new agent finds the module running, or its exit status. When the keeper
// itself is killed, the module dies with it (parent death signal), so that no module runs that nobody
// watches.
//
// Protocol: standard input is a socket. The agent writes one KeeperRequest and shuts down its sending side;
// the keeper answers one KeeperReply and closes. Afterwards: SIGTERM to the keeper = SIGTERM to the module's
// process group; SIGUSR2 = SIGKILL to it. state.json in the module's directory always tells the last known
// truth. In probe mode the keeper runs one command, answers with its exit code, and ends; closing the socket
// cancels.
//
// The keeper ends when its module has ended, everything the module left behind was killed, and the record is
// written.
#pragma once

namespace decklog::runtime {

// argv after the verb; none is needed. Returns only in the short-lived first process.
int keeper_main(int argc, char** argv);

}  // namespace decklog::runtime
