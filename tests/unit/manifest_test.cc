#include "lastcall/plugin/manifest.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "lastcall/plugin/descriptor_names.h"
#include "lastcall/plugin/plugin.h"
#include "plugin_folders.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using google::protobuf::FileDescriptorSet;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::StartsWith;
using testing::UnorderedElementsAre;

// Plugins, altered in a folder of their own.
class ManifestTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return folder_ / name; }

  std::string Write(const std::string& bytes) const { return folder_.Write("it.so", bytes); }

  static std::string Bytes(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  // The echo plugin with the first `from` replaced by `to`, of the same length.
  std::string EchoWith(std::string_view from, std::string_view to) const {
    std::string bytes = Bytes(kPlugins / "echo.so");
    const size_t at = bytes.find(from);
    EXPECT_NE(at, bytes.npos);
    EXPECT_EQ(from.size(), to.size());
    return Write(bytes.replace(at, from.size(), to));
  }

  std::string EchoWithHeader(const std::function<void(Elf64_Ehdr&)>& change) const {
    std::string bytes = Bytes(kPlugins / "echo.so");
    change(*reinterpret_cast<Elf64_Ehdr*>(bytes.data()));
    return Write(bytes);
  }

  static std::string RefusalOf(const std::string& path) {
    const Result<Manifest> manifest = ReadManifest(path);
    return manifest ? "read" : manifest.error().message;
  }

  const TempFolder folder_;
};

TEST_F(ManifestTest, TellsWhatAPluginBringsAndWasBuiltWith) {
  const auto manifest = ReadManifest(kPlugins / "echo.so");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->abi, kPluginAbi);
  EXPECT_EQ(manifest->name, "echo");
  EXPECT_EQ(manifest->compiler, __VERSION__);
  EXPECT_EQ(manifest->libstdcxx, static_cast<uint32_t>(_GLIBCXX_RELEASE));
  EXPECT_TRUE(manifest->cxx11_abi);
  EXPECT_THAT(manifest->grpc, MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+.*"));
  EXPECT_THAT(manifest->protobuf, MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_THAT(manifest->build_id, MatchesRegex("[0-9a-f]{40}"));
  EXPECT_THAT(manifest->files, ElementsAre("echo.proto"));
  EXPECT_THAT(manifest->services, ElementsAre("lastcall.example.Echo"));
  EXPECT_THAT(manifest->symbols,
              AllOf(Contains("lastcall.example.Echo"), Contains("lastcall.example.SlowRequest")));
  EXPECT_THAT(manifest->needed_files, IsEmpty());
}

TEST_F(ManifestTest, PluginsOfThisBuildFitThisHost) {
  for (const char* name : {"echo.so", "callback_echo.so"}) {
    const auto manifest = ReadManifest(kPlugins / name);
    ASSERT_TRUE(manifest) << manifest.error().message;
    EXPECT_THAT(Mismatches(*manifest, HostManifest()), IsEmpty());
  }
}

TEST_F(ManifestTest, SurvivesStripAndGcSectionsAndTellsWhatItNeeds) {
  const auto manifest = ReadManifest(kWrongPlugins / "needy.so");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_THAT(manifest->files, ElementsAre("needy.proto"));
  EXPECT_THAT(manifest->needed_files,
              ElementsAre("common.proto"));  // not protobuf's timestamp.proto
}

TEST_F(ManifestTest, SaysWhatAFileIsInsteadOfAPlugin) {
  std::filesystem::create_directory(Path("folder"));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  folder_.Write("sparse", "");  // nothing of it is on the disk, nor is it read
  ASSERT_EQ(truncate(Path("sparse").c_str(), off_t{1} << 40), 0);
  const struct {
    std::string path;
    std::string message;
  } cases[] = {
      {Path("none.so"),
       "cannot open the plugin " + Path("none.so") + ": No such file or directory"},
      {Path("folder"), Path("folder") + " is a directory, not a plugin"},
      {Path("fifo"), Path("fifo") + " is not a regular file, so it is not a plugin"},
      {Path("sparse"), Path("sparse") + " is larger than 1 GiB; strip it"},
      {Write(""), "is not an ELF file; a plugin is a shared object made by lastcall_add_plugin()"},
      {kWrongPlugins / "foreign.so",
       "foreign.so is not a Lastcall plugin: it has no manifest; build it with "
       "lastcall_add_plugin()"},
      {"/proc/self/exe", "is not a Lastcall plugin"},
  };
  for (const auto& each : cases) EXPECT_THAT(RefusalOf(each.path), HasSubstr(each.message));
  EXPECT_EQ(ReadManifest(Path("none.so")).error().code, Code::kNotFound);
  EXPECT_THAT(RefusalOf(Write("INPUT(-lecho)\n")), HasSubstr("is not an ELF file"));
  EXPECT_THAT(RefusalOf(Write("!<arch>\n")), HasSubstr("is not an ELF file"));
}

TEST_F(ManifestTest, RefusesOtherMachinesAndOtherKindsOfElf) {
  EXPECT_THAT(RefusalOf(EchoWithHeader([](auto& header) {
                header.e_machine = header.e_machine == EM_AARCH64 ? EM_X86_64 : EM_AARCH64;
              })),
              HasSubstr("it.so is built for "));
  EXPECT_THAT(
      RefusalOf(EchoWithHeader([](auto& header) { header.e_ident[EI_CLASS] = ELFCLASS32; })),
      HasSubstr("32 bits; this host is"));
  EXPECT_THAT(RefusalOf(EchoWithHeader([](auto& header) { header.e_type = ET_REL; })),
              HasSubstr("is not a shared object"));
  EXPECT_THAT(RefusalOf(EchoWithHeader([](auto& header) { header.e_phnum = 0; })),
              HasSubstr("its table of segments is unusable"));
  EXPECT_THAT(RefusalOf(EchoWithHeader([](auto& header) { header.e_phnum = 60000; })),
              HasSubstr("its table of segments is unusable"));
}

TEST_F(ManifestTest, RefusesDamagedManifests) {
  const std::string abi = "abi=" + std::to_string(kPluginAbi) + "\n";
  const struct {
    std::string_view from, to, message;
  } cases[] = {
      {abi, "abi=x\n", "its manifest has a bad abi"},
      {abi, "abx=1\n", "its manifest lacks abi"},
      {"\nname=echo", "\nname=\x1b[5m", "its manifest has a line that is not key=value"},
      {"\nname=echo", "\nname=ech\xff", "its manifest has a line that is not key=value"},
      {"\nname=echo", "\nname=e\u202e", "its manifest has a line that is not key=value"},
      {"\nname=echo", "\nname:echo", "its manifest has a line that is not key=value"},
      {"echo.proto\x12", "ech\xff.proto\x12",
       "a name in the .proto files of its manifest is not valid text"},
      {"echo.proto\x12", "echo.proto\x7f", "the .proto files in its manifest cannot be read"},
  };
  for (const auto& each : cases) {
    EXPECT_THAT(RefusalOf(EchoWith(each.from, each.to)),
                AllOf(StartsWith(Path("it.so") + " is damaged: "), HasSubstr(each.message)));
  }
}

TEST_F(ManifestTest, RefusesTwoPluginsInOneFile) {
  EXPECT_THAT(RefusalOf(kWrongPlugins / "twins.so"),
              HasSubstr("twins.so is damaged: it has two manifests"));
}

// Every cut is refused, also those behind the notes: loading such a file would end the process.
TEST_F(ManifestTest, RefusesFilesThatAreCutOffAnywhere) {
  std::string bytes = Bytes(kWrongPlugins / "needy.so");
  const std::string path = Write(bytes);
  ASSERT_TRUE(ReadManifest(path));
  const size_t whole = bytes.size();
  for (size_t length = whole - 1;; length -= length > 8192 && length < whole - 512 ? 97 : 1) {
    ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(length)), 0);
    ASSERT_FALSE(ReadManifest(path)) << "cut off at " << length << " of " << whole;
    if (length == 0) break;
  }
}

TEST_F(ManifestTest, RefusesCutOffFilesThatHaveNoSections) {
  const std::string path = EchoWithHeader([](auto& header) {
    header.e_shoff = 0;
    header.e_shnum = 0;
    header.e_shstrndx = 0;
  });
  ASSERT_TRUE(ReadManifest(path));
  std::filesystem::resize_file(path, 16384);
  EXPECT_THAT(RefusalOf(path), HasSubstr("is damaged: it is cut off within a segment"));
}

// No byte of the headers and notes can make the reader crash. Run it under ASan.
TEST_F(ManifestTest, SurvivesAnyChangedByte) {
  const std::string bytes = Bytes(kWrongPlugins / "needy.so");
  const size_t notes_end = bytes.find("needy.proto") + 256;
  ASSERT_LT(notes_end, bytes.size());
  int read = 0, refused = 0;
  std::string path = Write(bytes);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto put = [&](size_t at, char byte) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte).flush();
  };
  for (size_t at = 0; at < notes_end; ++at) {
    for (const int byte : {0x00, 0x01, 0x7f, 0xff, bytes[at] ^ 0x80, bytes[at] + 1}) {
      put(at, static_cast<char>(byte));
      ++(ReadManifest(path) ? read : refused);
    }
    put(at, bytes[at]);
  }
  EXPECT_GT(read, 0);
  EXPECT_GT(refused, 0);
  EXPECT_TRUE(ReadManifest(path));
}

TEST(MismatchesTest, NameEachFieldThatDiffers) {
  Manifest host;
  host.abi = 1;
  host.libstdcxx = 12;
  host.grpc = "1.51.1";
  host.protobuf = "4.25.1";
  host.sanitizer = "none";
  const struct {
    std::function<void(Manifest&)> change;
    std::vector<std::string> lines;
  } cases[] = {
      {[](Manifest&) {}, {}},
      {[](Manifest& plugin) { plugin.abi = 2; }, {"built for plugin ABI 2, this host has 1"}},
      {[](Manifest& plugin) { plugin.grpc = "1.51.9"; }, {}},
      {[](Manifest& plugin) { plugin.grpc = "1.5.1"; },
       {"built for gRPC 1.5.1, this host runs 1.51.1"}},
      {[](Manifest& plugin) { plugin.grpc = "2.51.1"; },
       {"built for gRPC 2.51.1, this host runs 1.51.1"}},
      {[](Manifest& plugin) { plugin.protobuf = "3.21.12"; },
       {"built for protobuf 3.21.12, this host runs 4.25.1"}},
      {[](Manifest& plugin) { plugin.cxx11_abi = false; },
       {"built with the std::string of before C++11, this host has the std::string of C++11"}},
      {[](Manifest& plugin) { plugin.libstdcxx = 11; }, {}},
      {[](Manifest& plugin) { plugin.libstdcxx = 13; },
       {"built with libstdc++ 13, this host has the older 12"}},
      {[](Manifest& plugin) { plugin.sanitizer = "address"; },
       {"built with the address sanitizer, this host has no sanitizer"}},
      {[](Manifest& plugin) { plugin.compiler = "99"; }, {}},
      {[](Manifest& plugin) { plugin.abi = 2, plugin.protobuf = "5.0.0"; },
       {"built for plugin ABI 2, this host has 1",
        "built for protobuf 5.0.0, this host runs 4.25.1"}},
  };
  for (const auto& each : cases) {
    Manifest plugin = host;
    each.change(plugin);
    EXPECT_EQ(Mismatches(plugin, host), each.lines);
  }
}

TEST_F(ManifestTest, MismatchedPluginDiffersInEveryField) {
  const auto manifest = ReadManifest(kWrongPlugins / "mismatched.so");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(Mismatches(*manifest, HostManifest()).size(), 6u);
}

Manifest Bringing(std::string path, Manifest::Names files, Manifest::Names symbols) {
  Manifest manifest;
  manifest.path = std::move(path);
  manifest.files = std::move(files);
  manifest.symbols = std::move(symbols);
  return manifest;
}

constexpr char kRemedies[] =
    ", which one process can have only once; give the server of one of them another process "
    "(process = \"…\"), or build it once, for both, with lastcall_add_protos(… SHARED)";

TEST(ClashesTest, NameEveryPairThatBringsTheSameFile) {
  const auto a = Bringing("/a.so", {"x.proto", "a.proto"}, {"x.X", "a.A"});
  const auto b = Bringing("/b.so", {"b.proto"}, {"b.B"});
  const auto c = Bringing("/c.so", {"x.proto"}, {"x.X"});
  EXPECT_THAT(Clashes({{"a", a}, {"b", b}}), IsEmpty());
  EXPECT_THAT(Clashes({{"a", a}, {"b", b}, {"c", c}}),
              ElementsAre(std::string("plugins a and c both bring x.proto") + kRemedies));
}

TEST(ClashesTest, FindTheSameNamesInFilesOfOtherNames) {
  const auto a = Bringing("/a.so", {"shop/x.proto"}, {"shop.X", "shop.Y", "shop.Z", "shop.A"});
  const auto b = Bringing("/b.so", {"x.proto"}, {"shop.X", "shop.Y", "shop.Z"});
  EXPECT_THAT(Clashes({{"a", a}, {"b", b}}),
              ElementsAre(std::string("plugins a and b both define shop.X, shop.Y and 1 more") +
                          kRemedies));
}

TEST(ClashesTest, KnowAPluginThatTwoServersName) {
  const auto a = Bringing("/a.so", {"x.proto"}, {"x.X"});
  auto copy = a;
  EXPECT_THAT(Clashes({{"a", a}, {"a", copy}}), IsEmpty());
  copy.path = "/copy/a.so";
  EXPECT_THAT(Clashes({{"a", a}, {"a", copy}}),
              ElementsAre(StartsWith("plugins a (/a.so) and a (/copy/a.so) both bring x.proto")));
}

TEST(ManifestTextTest, IgnoresWhatALaterVersionAdds) {
  Manifest manifest;
  const auto parsed = internal::ParseManifestText(
      "abi=7\nname=a\ncompiler=c\nlibstdcxx=12\ncxx11_abi=0\ngrpc=1\nprotobuf=2=3\nsanitizer=none\n"
      "colour=blue",
      &manifest);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(manifest.abi, 7u);
  EXPECT_FALSE(manifest.cxx11_abi);
  EXPECT_EQ(manifest.protobuf, "2=3");
}

TEST(DescriptorNamesTest, ReadsNamesWithAndWithoutPackage) {
  FileDescriptorSet set;
  auto* plain = set.add_file();
  plain->set_name("plain.proto");
  plain->add_message_type()->set_name("M");
  plain->mutable_message_type(0)->add_nested_type()->set_name("Nested");
  plain->add_dependency("b.proto");
  plain->add_dependency("elsewhere.proto");
  auto* packaged = set.add_file();
  packaged->set_name("b.proto");
  packaged->set_package("p.q");
  packaged->add_service()->set_name("S");
  packaged->add_enum_type()->set_name("E");
  packaged->add_extension()->set_name("x");
  packaged->add_dependency("google/protobuf/any.proto");
  packaged->add_dependency("elsewhere.proto");
  const auto names = ReadDescriptorNames(set.SerializeAsString());
  ASSERT_TRUE(names);
  EXPECT_THAT(names->files, ElementsAre("plain.proto", "b.proto"));
  EXPECT_THAT(names->needed_files, ElementsAre("elsewhere.proto"));
  EXPECT_THAT(names->services, ElementsAre("p.q.S"));
  EXPECT_THAT(names->symbols, UnorderedElementsAre("M", "p.q.S", "p.q.E", "p.q.x"));
}

TEST(DescriptorNamesTest, RefusesWhatIsHostile) {
  FileDescriptorSet many;
  many.add_file()->set_name("many.proto");
  for (int i = 0; i < 100'000; ++i) many.mutable_file(0)->add_dependency("d");
  EXPECT_FALSE(ReadDescriptorNames(many.SerializeAsString()));

  FileDescriptorSet odd;
  odd.add_file()->set_name("line\nbreak.proto");
  EXPECT_FALSE(ReadDescriptorNames(odd.SerializeAsString()));

  std::string empty_files;
  for (int i = 0; i < 1000; ++i) empty_files += std::string("\x0a\0", 2);
  EXPECT_FALSE(ReadDescriptorNames(empty_files));
  EXPECT_TRUE(ReadDescriptorNames("\x0a\x03\x0a\x01z"));
  EXPECT_FALSE(ReadDescriptorNames("\x0a\x04\x0a\x01z"));           // says it is longer than it is
  EXPECT_FALSE(ReadDescriptorNames(std::string(100'000, '\x0b')));  // groups within groups
}

}  // namespace
}  // namespace lastcall
