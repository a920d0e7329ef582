//! Certificates for the lab: a private CA, and leaves with one flaw each.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;

/// Files `NAME.crt` and `NAME.key`, and `ca.crt`.
pub struct Certs(TempDir);

impl Certs {
    pub fn make() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        ca.distinguished_name.push(rcgen::DnType::CommonName, "lab CA");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(dir.path().join("ca.crt"), ca.self_signed(&key).expect("signed").pem()).expect("written");
        let issuer = rcgen::Issuer::new(ca, key);
        let certs = Self(dir);
        let good = |name: &str| rcgen::CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        certs.write("good", &good("example.test"), Some(&issuer));
        certs.write("backend", &good("backend.test"), Some(&issuer));
        certs.write("other", &good("other.test"), Some(&issuer));
        certs.write("self", &good("example.test"), None);
        let mut expired = good("example.test");
        expired.not_after = rcgen::date_time_ymd(2024, 1, 2);
        certs.write("expired", &expired, Some(&issuer));
        let mut soon = good("example.test");
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        // rcgen takes a date alone: five days ahead is between four and five.
        let (year, month, day) = date(now + 5 * 86_400);
        soon.not_after = rcgen::date_time_ymd(year, month, day);
        certs.write("soon", &soon, Some(&issuer));
        certs
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, name: &str, params: &rcgen::CertificateParams, by: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = match by {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        fs::write(self.path(&format!("{name}.crt")), cert.expect("signed").pem()).expect("written");
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        fs::write(self.path(&format!("{name}.der")), key.serialize_der()).expect("written");
    }

    /// What a backend needs to show this certificate.
    pub fn server(&self, name: &str) -> Arc<rustls::ServerConfig> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;
        let cert = CertificateDer::from_pem_file(self.path(&format!("{name}.crt"))).expect("a certificate");
        let key = fs::read(self.path(&format!("{name}.der"))).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert], PrivateKeyDer::try_from(key).expect("a key"))
            .expect("an identity");
        Arc::new(config)
    }
}

/// Year, month and day of a time in seconds since 1970.
fn date(secs: u64) -> (i32, u8, u8) {
    let at = wspulse::time::Timestamp::from_secs(i64::try_from(secs).expect("a time")).to_string();
    let mut parts = at.split(['-', 'T']);
    let mut part = || parts.next().expect("a part").parse::<i32>().expect("a number");
    let (year, month, day) = (part(), part(), part());
    (year, u8::try_from(month).expect("a month"), u8::try_from(day).expect("a day"))
}
