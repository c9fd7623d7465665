// What the operator sees: eval answers line by line, explain in words.
#include "services/routing/route_tool.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace decklog::routing {
namespace {

struct Outcome final {
  int code = 0;
  std::string out;
  std::string err;
};

Outcome eval(const std::string& input) {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  const int code = route_eval(in, out, err);
  return {code, out.str(), err.str()};
}

Outcome explain(std::string_view query, std::string_view source = "/messages") {
  std::ostringstream out;
  const int code = route_explain(query, R"({"body":{"rpm":70,"part":{}},"appProps":{"site":"plant7"},
    "sysProps":{"contentType":"application/json","contentEncoding":"utf-8"}})",
                                 source, out);
  return {code, out.str(), {}};
}

bool mentions(const std::string& text, std::string_view word) {
  return text.find(word) != std::string::npos;
}

TEST(RouteEval, AnswersEveryLine) {
  const Outcome run = eval(R"({"id":"a","kind":"condition","query":"1 = 1"}

{"id":2,"kind":"condition","query":"x = 'y'","message":{"appProps":{"X":"y"}}}
{"id":"c","kind":"condition","query":"x = 'y'"}
{"id":"d","kind":"invalid","of":"route","query":"FROM nowhere"}
{"id":"e","kind":"invalid","query":"true"}
)");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(
      run.out,
      "{\"id\":\"a\",\"result\":true}\n{\"id\":2,\"result\":true}\n{\"id\":\"c\",\"result\":\"undefined\"}\n"
      "{\"id\":\"d\",\"result\":\"error\"}\n{\"id\":\"e\",\"result\":\"ok\"}\n");
  EXPECT_TRUE(mentions(run.err, "\"d\": column 6: ")) << run.err;
}

TEST(RouteEval, AnswersAWholeDocument) {
  const Outcome run = eval(R"({"about":"x",
    "vectors":[{"id":"a","kind":"condition","query":"false"},
               {"id":"b","kind":"routeset","routes":["FROM /messages INTO $upstream"],"source":"/messages"}]})");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(
      run.out,
      "{\"id\":\"a\",\"result\":false}\n"
      "{\"id\":\"b\",\"result\":{\"endpoints\":[\"$upstream\"],\"priority\":{\"$upstream\":2000000000}}}\n");
}

TEST(RouteEval, ReportsLinesItCannotReadAndGoesOn) {
  const Outcome run = eval("not json\n[1]\n{\"id\":1,\"kind\":\"condition\",\"query\":\"true\"}");
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.out, "{\"id\":1,\"result\":true}\n");
  EXPECT_TRUE(mentions(run.err, "not JSON"));
  EXPECT_EQ(eval("{\"vectors\":5}").code, 2);
  EXPECT_TRUE(mentions(eval(R"({"id":1,"kind":"dance"})").err, "kind 'dance'"));
  EXPECT_TRUE(mentions(eval(R"({"id":1,"kind":"condition","query":"true","message":5})").out, "\"error\""));
  EXPECT_TRUE(
      mentions(eval(R"({"id":1,"query":"a = 'b'","message":{"appProps":{"a":1}}})").err, "$.appProps.a"));
}

TEST(RouteExplain, ShowsThePartThatDecided) {
  const Outcome run = explain("FROM /messages/* WHERE $body.rpm > 50 AND site = 'plant8' INTO $upstream");
  EXPECT_EQ(run.code, 0);
  EXPECT_TRUE(mentions(run.out, "the source /messages/* takes messages from /messages\n")) << run.out;
  EXPECT_TRUE(mentions(run.out, "column 24: $body.rpm > 50 is true\n")) << run.out;
  EXPECT_TRUE(mentions(run.out, "column 43: site is text \"plant7\"\n")) << run.out;
  EXPECT_TRUE(mentions(run.out,
                       "the condition is false, decided here:\n"
                       "  FROM /messages/* WHERE $body.rpm > 50 AND site = 'plant8' INTO $upstream\n"
                       "                                            ^^^^^^^^^^^^^^^\n"))
      << run.out;
  EXPECT_TRUE(mentions(run.out, "does not go to $upstream"));
}

TEST(RouteExplain, SaysWhySomethingIsUndefined) {
  EXPECT_TRUE(mentions(explain("stie = 'plant7'").out, "no application property 'stie'"));
  EXPECT_TRUE(mentions(explain("site!='x'").out, "put blanks around an operator"));
  EXPECT_TRUE(mentions(explain("$nope = 'x'").out, "no property or system property '$nope'"));
  EXPECT_TRUE(mentions(explain("$body.part = 1").out, "an object or a list"));
  EXPECT_TRUE(mentions(explain("$body.nope > 1").out, "nothing, or null, at this path"));
  EXPECT_TRUE(mentions(explain("$body.nope > 1").out, "unlike kinds"));
  EXPECT_TRUE(mentions(explain("$body.rpm + site = 1").out, "refused at column 11"));
}

TEST(RouteExplain, SaysWhenTheSourceDoesNotMatch) {
  const Outcome run = explain("FROM /messages/modules/* INTO BrokeredEndpoint('/modules/m/inputs/i')");
  EXPECT_EQ(run.code, 0);
  EXPECT_TRUE(mentions(run.out, "does not take messages from /messages\n"));
  EXPECT_TRUE(mentions(run.out, "there is no condition"));
  EXPECT_TRUE(mentions(run.out, "does not go to m/i"));
}

TEST(RouteExplain, MarksARefusal) {
  const Outcome run = explain("FROM /messages\nWHERE 'ż' = 5 INTO $upstream");
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(mentions(run.out, "refused at column 26: '=' expects values of one kind")) << run.out;
  EXPECT_TRUE(
      mentions(run.out, "\n  FROM /messages WHERE 'ż' = 5 INTO $upstream\n                           ^\n"))
      << run.out;
}

TEST(RouteExplain, RefusesAMessageItCannotRead) {
  std::ostringstream out;
  EXPECT_EQ(route_explain("true", "{", "/messages", out), 2);
  EXPECT_TRUE(mentions(out.str(), "cannot be read"));
}

}  // namespace
}  // namespace decklog::routing
