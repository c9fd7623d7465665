#include "services/iothub/topics.hpp"

#include <gtest/gtest.h>

#include <string>

namespace decklog::iothub {
namespace {

template <class T>
T as(std::string_view topic) {
  const auto parsed = parse_publish_topic(topic);
  const T* found = std::get_if<T>(&parsed);
  EXPECT_NE(found, nullptr) << topic;
  return found ? *found : T{};
}

const ClientName kDevice{"edge-1", ""};
const ClientName kModule{"edge-1", "sensor"};

TEST(IoTHubTopics, TelemetryOfDevicesAndModules) {
  auto topic = as<TelemetryTopic>("devices/edge-1/messages/events/");
  EXPECT_EQ(topic.client, kDevice);
  EXPECT_EQ(topic.bag, "");
  topic = as<TelemetryTopic>("devices/edge-1/messages/events");
  EXPECT_EQ(topic.client, kDevice);
  topic = as<TelemetryTopic>("devices/edge-1/modules/sensor/messages/events/%24.on=o&a=b%2Fc/");
  EXPECT_EQ(topic.client, kModule);
  EXPECT_EQ(topic.bag, "%24.on=o&a=b%2Fc/");
  // System values that other clients leave raw: everything behind the last fixed slash is the bag.
  EXPECT_EQ(as<TelemetryTopic>("devices/d/messages/events/$.ct=application/json&x=1").bag,
            "$.ct=application/json&x=1");
}

TEST(IoTHubTopics, IdsAreTakenByteForByte) {
  EXPECT_EQ(as<TelemetryTopic>("devices/a%41 b/modules/m!/messages/events/").client,
            (ClientName{"a%41 b", "m!"}));
}

TEST(IoTHubTopics, ADeviceNamedModulesIsNoModule) {
  EXPECT_EQ(as<TelemetryTopic>("devices/modules/messages/events/").client, (ClientName{"modules", ""}));
  EXPECT_EQ(as<TelemetryTopic>("devices/modules/modules/modules/messages/events/").client,
            (ClientName{"modules", "modules"}));
}

TEST(IoTHubTopics, TwinRequestsGiveTheRidBackByteForByte) {
  EXPECT_EQ(as<TwinGetTopic>("$iothub/twin/GET/?$rid=0b2f-A%2Fc").rid, "0b2f-A%2Fc");
  EXPECT_EQ(as<TwinGetTopic>("$iothub/twin/GET/?%24rid=7&x=1").rid, "7");
  EXPECT_EQ(as<TwinGetTopic>("$iothub/twin/GET/?x=1&$rid=7").rid, "7");
  EXPECT_EQ(as<TwinGetTopic>("$iothub/twin/GET/?$rid=").rid, "");
  EXPECT_EQ(as<TwinGetTopic>("$iothub/twin/GET/?$rid=a=b").rid, "a=b");
  EXPECT_EQ(as<TwinPatchTopic>("$iothub/twin/PATCH/properties/reported/?$rid=9&$version=4").rid, "9");
}

TEST(IoTHubTopics, MethodResponses) {
  const auto response = as<MethodResponseTopic>("$iothub/methods/res/202/?$rid=a-b/c");
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(response.rid, "a-b/c");
  EXPECT_EQ(as<MethodResponseTopic>("$iothub/methods/res/-1/?$rid=1").status, -1);
  // Whose answer it is can be told, so the caller need not wait.
  for (const char* text : {"", "2x", "200.5", "undefined", "99999999999"}) {
    const auto odd = as<MethodResponseTopic>(std::string("$iothub/methods/res/") + text + "/?$rid=7");
    EXPECT_EQ(odd.status, std::nullopt) << text;
    EXPECT_EQ(odd.rid, "7");
  }
}

TEST(IoTHubTopics, WhatIsInTheNamespaceAndWrongSaysWhy) {
  for (const char* topic :
       {"$iothub/", "$iothub/twin/GET/", "$iothub/twin/GET/?rid=1", "$iothub/twin/GET/more/stuff",
        "$iothub/twin/PATCH/properties/reported/", "$iothub/twin/PATCH/properties/desired/?$rid=1",
        "$iothub/methods/res/200", "$iothub/methods/POST/x/?$rid=1", "$iothub/twin/res/200/?$rid=1",
        "devices/", "devices/d", "devices/d/", "devices/d/messages", "devices/d/messages/eventsX",
        "devices//", "devices/d/modules/m", "devices/d/modules//messages/events/",
        "devices/d/modules/m/inputs/i/", "devices/d/messages/devicebound/"}) {
    EXPECT_FALSE(as<MalformedTopic>(topic).why.empty()) << topic;
  }
}

TEST(IoTHubTopics, EverythingElseIsSomebodyElses) {
  for (const char* topic : {"", "/", "a/b", "device/d/messages/events/", "/devices/d/messages/events/",
                            "$SYS/x", "$iothubX/twin", "Devices/d/messages/events/"})
    (void)as<OtherTopic>(topic);
}

TEST(IoTHubTopics, FiltersOfAModule) {
  const auto kind = [](std::string_view filter) { return parse_filter(filter, kModule); };
  EXPECT_EQ(kind("$iothub/twin/res/#"), FilterKind::kTwinResponses);
  EXPECT_EQ(kind("$iothub/twin/PATCH/properties/desired/#"), FilterKind::kDesired);
  EXPECT_EQ(kind("$iothub/methods/POST/#"), FilterKind::kMethods);
  EXPECT_EQ(kind("devices/edge-1/modules/sensor/inputs/#"), FilterKind::kInputs);
  EXPECT_EQ(kind("devices/edge-1/modules/sensor/#"), FilterKind::kInputs);
  EXPECT_EQ(kind("devices/edge-1/modules/sensor/inputs/in1/#"), FilterKind::kInputs);
  EXPECT_EQ(kind("$iothub/#"), FilterKind::kUnsupported);
  EXPECT_EQ(kind("devices/edge-1/messages/devicebound/#"), FilterKind::kUnsupported);
  EXPECT_EQ(kind("devices/edge-1/modules/sensor/messages/events/#"), FilterKind::kUnsupported);
}

TEST(IoTHubTopics, NobodyListensToAnother) {
  const auto kind = [](std::string_view filter) { return parse_filter(filter, kModule); };
  for (const char* filter : {"devices/edge-1/modules/other/inputs/#", "devices/edge-1/modules/+/inputs/#",
                             "devices/+/modules/sensor/inputs/#", "devices/edge-2/modules/sensor/#",
                             "devices/#", "devices/edge-1/modules/#", "devices/edge-10/modules/sensor/#",
                             "devices/edge-1/modules/sensor2/inputs/#"})
    EXPECT_EQ(kind(filter), FilterKind::kForeign) << filter;
  EXPECT_EQ(parse_filter("devices/edge-1/modules/sensor/inputs/#", kDevice), FilterKind::kForeign);
  EXPECT_EQ(parse_filter("devices/edge-1/modules//inputs/#", kDevice), FilterKind::kForeign);
  EXPECT_EQ(parse_filter("devices/edge-1/#", kDevice), FilterKind::kUnsupported);
  EXPECT_EQ(parse_filter("devices/edge-1/messages/devicebound/#", kDevice), FilterKind::kCloudToDevice);
  EXPECT_EQ(parse_filter("sensors/+/temperature", kDevice), FilterKind::kOther);
  EXPECT_EQ(parse_filter("#", kDevice), FilterKind::kOther);
}

TEST(IoTHubTopics, TopicsToClients) {
  EXPECT_EQ(twin_response_topic(200, "a-1"), "$iothub/twin/res/200/?$rid=a-1");
  EXPECT_EQ(twin_response_topic(204, "7", 12), "$iothub/twin/res/204/?$rid=7&$version=12");
  EXPECT_EQ(desired_topic(3), "$iothub/twin/PATCH/properties/desired/?$version=3");
  EXPECT_EQ(method_topic("reboot", "42"), "$iothub/methods/POST/reboot/?$rid=42");
  EXPECT_EQ(input_topic(kModule, "in1", {}), "devices/edge-1/modules/sensor/inputs/in1/");
  EXPECT_EQ(input_topic(kModule, "in1", {{"$.cdid", "edge-1"}, {"a b", "c/d"}}),
            "devices/edge-1/modules/sensor/inputs/in1/%24.cdid=edge-1&a%20b=c%2Fd");
  EXPECT_EQ(cloud_to_device_topic(kDevice, {}), "devices/edge-1/messages/devicebound/");
  EXPECT_EQ(cloud_to_device_topic(kDevice, {{"k", "v"}}), "devices/edge-1/messages/devicebound/k=v");
}

}  // namespace
}  // namespace decklog::iothub
