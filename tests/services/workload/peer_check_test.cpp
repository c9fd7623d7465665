#include "services/workload/peer_check.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace decklog::workload {
namespace {

TEST(PeerCheck, FindsAncestorsAndNothingElse) {
  EXPECT_TRUE(descends_from(::getpid(), ::getpid()));
  EXPECT_TRUE(descends_from(::getpid(), ::getppid()));
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {  // stays until the other end closes
    ::close(pipe_ends[1]);
    char byte = 0;
    const auto ignored = ::read(pipe_ends[0], &byte, 1);
    ::_exit(ignored == 0 ? 0 : 1);
  }
  EXPECT_TRUE(descends_from(child, ::getpid()));
  EXPECT_FALSE(descends_from(::getpid(), child));
  ::close(pipe_ends[1]);
  ::close(pipe_ends[0]);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(descends_from(child, ::getpid()));
  EXPECT_FALSE(descends_from(0, 0));
  EXPECT_FALSE(descends_from(-1, -1));
}

TEST(PeerCheck, ReadsTheContainerFromEveryFormOfTheFile) {
  const std::string outer(64, 'a'), inner(64, 'b');
  EXPECT_EQ(container_in_cgroup_text("0::/system.slice/docker-" + outer + ".scope\n"), outer);
  EXPECT_EQ(container_in_cgroup_text("12:pids:/docker/" + outer + "\n0::/docker/" + outer + "\n"), outer);
  EXPECT_EQ(container_in_cgroup_text("0::/docker/" + outer + "/docker/" + inner + "\n"), inner);
  EXPECT_EQ(container_in_cgroup_text("0::/user.slice/session-1.scope\n"), "");
  EXPECT_EQ(container_in_cgroup_text("0::/x/" + outer + "a\n"), "");
  EXPECT_EQ(container_in_cgroup_text(""), "");
  EXPECT_EQ(container_of(0), "");
}

}  // namespace
}  // namespace decklog::workload
