#include "lastcall/net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>
#include <utility>
#include <vector>

#include <lastcall/base/regular_file.h>
#include <lastcall/base/trust.h>

namespace lastcall {
namespace {

template <auto kFree>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

Bio BioOf(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// A chain of certificates, or all authorities of a country, are far below it.
constexpr size_t kMostPem = 1 << 20;

Result<UniqueFd> OpenFile(const std::string& path, const Trust* trust) {
  if (trust == nullptr) return OpenRegular(path);
  const auto found = trust->Find(path);
  if (!found) return tl::unexpected(found.error().error);
  return found->Open();
}

Result<std::string> ReadFile(const std::string& path, const Trust* trust) {
  const auto fd = OpenFile(path, trust);
  if (!fd) return tl::unexpected(fd.error());
  auto text = ReadUpTo(kMostPem, fd->get(), path);
  if (!text && text.error().code == Code::kOutOfRange) {
    return Fail(Code::kInvalidArgument, text.error().message + "; name the PEM file itself");
  }
  return text;
}

tl::unexpected<Error> Bad(const std::string& path, const std::string& why) {
  ERR_clear_error();
  return Fail(Code::kInvalidArgument, path + ": " + why);
}

std::vector<Certificate> CertificatesIn(const std::string& pem) {
  std::vector<Certificate> found;
  const Bio bio = BioOf(pem);
  while (X509* const one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    found.emplace_back(one);
  }
  ERR_clear_error();  // the end of the file is an error too
  return found;
}

// Nobody is there who could be asked for a passphrase.
int NoPassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

WallTime TimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return WallTime(std::chrono::seconds(timegm(&parts)));
}

}  // namespace

bool IsExpired(const TlsMaterial& tls, WallTime now) {
  return now < tls.begins || now >= tls.expires;
}

Result<TlsMaterial> LoadTls(const TlsFiles& files, const Trust* trust) {
  TlsMaterial tls;
  auto certificate = ReadFile(files.certificate, trust);
  if (!certificate) return tl::unexpected(certificate.error());
  auto key = ReadFile(files.key, trust);
  if (!key) return tl::unexpected(key.error());
  tls.certificate = std::move(*certificate);
  tls.key = std::move(*key);

  const auto chain = CertificatesIn(tls.certificate);
  if (chain.empty()) {
    return Bad(files.certificate, "is not a certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  }
  bool encrypted = false;
  const Key parsed(
      PEM_read_bio_PrivateKey(BioOf(tls.key).get(), nullptr, NoPassphrase, &encrypted));
  if (encrypted) {
    return Bad(files.key,
               "is encrypted; take the passphrase away with \"openssl pkey\" and protect "
               "the file by its mode");
  }
  if (parsed == nullptr) {
    return Bad(files.key, "is not a private key in PEM form (-----BEGIN PRIVATE KEY-----)");
  }
  if (X509_check_private_key(chain.front().get(), parsed.get()) != 1) {
    return Bad(files.key, "is not the key of the first certificate in " + files.certificate +
                              "; name the pair that belongs together");
  }
  tls.begins = TimeOf(X509_get0_notBefore(chain.front().get()));
  tls.expires = TimeOf(X509_get0_notAfter(chain.front().get()));

  if (files.client_ca.empty()) return tls;
  auto client_ca = ReadFile(files.client_ca, trust);
  if (!client_ca) return tl::unexpected(client_ca.error());
  tls.client_ca = std::move(*client_ca);
  if (CertificatesIn(tls.client_ca).empty()) {
    return Bad(files.client_ca, "has no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  }
  return tls;
}

}  // namespace lastcall
