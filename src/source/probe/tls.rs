//! TLS that shows its evidence: the server's certificate is recorded whatever it is, and a refusal names the exact reason.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use super::alert::{cause_of, failed, hint};
use super::answer;
use super::fault::{Fault, kind_of, words};
use super::options::{ClientCert, ProbeOptions};
use super::url::{Host, WsUrl};
use super::wire::{Socket, Tasted};
use crate::event::probe::{FailureKind, Issuer, Phase, Tls};
use crate::human::visible;
use crate::time::Timestamp;

/// How long a peer that does not speak TLS may take to say what it has to say.
const TASTE_WAIT: Duration = Duration::from_millis(500);
/// Names of a certificate that are listed in a sentence.
const NAMES_SAID: usize = 4;
/// Certificates behind the server's own that are read.
const CHAIN: usize = 8;

/// Runs the TLS handshake over `socket`.
pub(super) async fn secure(
    socket: Socket,
    url: &WsUrl,
    options: &ProbeOptions,
) -> Result<(TlsStream<Tasted>, Tls), Box<Fault>> {
    let name = server_name(url)?;
    let wanted = options.clone();
    // Roots and keys are files: reading them may block.
    let loaded = tokio::task::spawn_blocking(move || load(&wanted)).await;
    let (config, recorder) = loaded.unwrap_or_else(|e| Err(format!("TLS could not be set up: {e}"))).map_err(failed)?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name.clone(), Tasted::new(socket)).into_fallible();
    match connecting.await {
        Ok(stream) => {
            let shown = shown(stream.get_ref().1, &recorder.seen());
            Ok((stream, shown))
        }
        Err((error, tasted)) => Err(explain(&error, tasted, &recorder, &name, url).await),
    }
}

fn server_name(url: &WsUrl) -> Result<ServerName<'static>, Box<Fault>> {
    match url.host() {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| failed(format!("'{name}' cannot be asked for in TLS: it is no valid DNS name"))),
    }
}

// ---- setting up

/// Looks whether the files of certificates and keys that the options name can be used.
///
/// # Errors
/// One sentence that names the file and what is wrong with it.
pub fn check_files(options: &ProbeOptions) -> Result<(), String> {
    if options.cacert.is_none() && options.client_cert.is_none() {
        return Ok(());
    }
    load(options).map(drop)
}

/// The client's side of one handshake. It is built anew each time, so that no session is resumed: a resumed session
/// shows no certificate.
fn load(options: &ProbeOptions) -> Result<(ClientConfig, Arc<Recorder>), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = options.cacert.as_deref().map(certificates).transpose()?.unwrap_or_default();
    let mut roots = RootCertStore::clone(native_roots());
    roots.add_parsable_certificates(pinned.iter().cloned());
    // No roots at all is a verdict on every certificate, not a failure to look.
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok();
    let recorder = Arc::new(Recorder {
        webpki,
        pinned,
        insecure: options.insecure,
        provider: Arc::clone(&provider),
        seen: Mutex::default(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>);
    let mut config = match &options.client_cert {
        None => config.with_no_client_auth(),
        Some(ClientCert { cert, key }) => {
            config.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(|e| unusable(cert, key, &e))?
        }
    };
    config.alpn_protocols = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok((config, recorder))
}

fn unusable(cert: &Path, key: &Path, error: &Error) -> String {
    let (cert, key) = (cert.display(), key.display());
    match error {
        Error::InconsistentKeys(_) => format!(
            "the key {key} does not belong to the certificate {cert}; give the two that were made together, and in \
             {cert} our own certificate first"
        ),
        error => format!("the certificate {cert} cannot be used with the key {key}: {error}"),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong =
        |e: rustls::pki_types::pem::Error| format!("no certificates could be read from {}: {e}", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if found.is_empty() {
        Err(format!(
            "there is no PEM certificate in {}; it must hold a part that begins with -----BEGIN CERTIFICATE-----",
            path.display()
        ))
    } else {
        Ok(found)
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| {
        format!("no private key could be read from {}: {e}; it must be PEM and not encrypted", path.display())
    })
}

/// The system's roots, read once: hundreds of files on some systems.
fn native_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a root certificate could not be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        roots
    })
}

// ---- recording

/// A verifier that writes down what it is shown and leaves the judgement to webpki.
#[derive(Debug)]
struct Recorder {
    webpki: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    insecure: bool,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
}

/// The server's certificates, its own first, and when they were looked at.
#[derive(Clone, Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    now: Option<UnixTime>,
}

impl Recorder {
    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A certificate that is itself in the CA file is trusted, as OpenSSL and curl do; webpki refuses it where it says
    /// `CA:TRUE`, as every `openssl req -x509` does.
    fn judge_pinned(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        let parsed = Leaf::read(leaf).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let now = moment(now);
        if parsed.not_after < now {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        if now < parsed.not_before {
            return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(intermediates).map(|c| c.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { chain, now: Some(now) };
        if self.insecure {
            return Ok(ServerCertVerified::assertion());
        }
        if self.pinned.iter().any(|pinned| pinned.as_ref() == leaf.as_ref()) {
            return Self::judge_pinned(leaf, name, now).map(|()| ServerCertVerified::assertion());
        }
        match &self.webpki {
            Some(webpki) => webpki.verify_server_cert(leaf, intermediates, name, ocsp, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

// ---- showing

/// What a person asks of a certificate.
#[derive(Debug)]
struct Leaf {
    subject: String,
    issuer: String,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    self_signed: bool,
}

impl Leaf {
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(der.as_ref()).ok()?;
        let names = cert.extensions().iter().filter_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => Some(&san.general_names),
            _ => None,
        });
        Some(Self {
            subject: visible(cert.subject().to_string().as_bytes()),
            issuer: visible(cert.issuer().to_string().as_bytes()),
            names: names.flatten().filter_map(name_text).collect(),
            not_before: Timestamp::from_secs(cert.validity().not_before.timestamp()),
            not_after: Timestamp::from_secs(cert.validity().not_after.timestamp()),
            self_signed: cert.subject().as_raw() == cert.issuer().as_raw(),
        })
    }

    fn listed_names(&self) -> String {
        let more = self.names.len().saturating_sub(NAMES_SAID);
        let some: Vec<&str> = self.names.iter().take(NAMES_SAID).map(String::as_str).collect();
        match (some.as_slice(), more) {
            ([], _) => "no name at all, as nobody reads its common name any more".to_owned(),
            (some, 0) => some.join(", "),
            (some, more) => format!("{} and {more} more", some.join(", ")),
        }
    }
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(visible(name.as_bytes())),
        GeneralName::IPAddress(ip) => {
            let v4 = <[u8; 4]>::try_from(*ip).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*ip).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn certificate_shown(seen: &Seen) -> Tls {
    let mut tls = Tls { chain: seen.chain.len(), ..Tls::default() };
    if let Some(leaf) = seen.chain.first().and_then(Leaf::read) {
        tls.subject = Some(leaf.subject);
        tls.issuer = Some(leaf.issuer);
        tls.names = leaf.names;
        tls.not_after = Some(leaf.not_after);
    }
    let above = seen.chain.iter().skip(1).take(CHAIN).filter_map(Leaf::read);
    tls.above = above.map(|c| Issuer { subject: c.subject, issuer: c.issuer, not_after: c.not_after }).collect();
    tls
}

fn shown(session: &rustls::ClientConnection, seen: &Seen) -> Tls {
    let version = session.protocol_version().map(|v| match v {
        ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    });
    Tls {
        version,
        cipher: session.negotiated_cipher_suite().map(|c| format!("{:?}", c.suite())),
        alpn: session.alpn_protocol().map(visible),
        ..certificate_shown(seen)
    }
}

fn moment(t: UnixTime) -> Timestamp {
    Timestamp::from_secs(i64::try_from(t.as_secs()).unwrap_or(i64::MAX))
}

fn date(t: Timestamp) -> String {
    t.to_string().chars().take(10).collect()
}

// ---- explaining

/// The fault behind a failed handshake.
async fn explain(
    error: &io::Error,
    mut tasted: Tasted,
    recorder: &Recorder,
    name: &ServerName<'_>,
    url: &WsUrl,
) -> Box<Fault> {
    let seen = recorder.seen();
    let host = url.host_port();
    let Some(cause) = cause_of(error) else {
        let kind = kind_of(error);
        let said = match kind {
            FailureKind::ClosedEarly => format!("{host} closed the connection during the TLS handshake"),
            FailureKind::Reset => format!("{host} reset the connection during the TLS handshake"),
            _ => format!("the TLS handshake with {host} failed: {}", words(error)),
        };
        return Fault::new(Phase::Tls, kind, said);
    };
    match cause {
        Error::InvalidCertificate(why) => {
            let (kind, said) = distrust(why, &seen, name, url, recorder.webpki.is_none());
            Fault::new(Phase::Tls, kind, said).with_tls(Some(certificate_shown(&seen)))
        }
        Error::InvalidMessage(_) if !seen.chain.is_empty() => failed(format!("{host} broke TLS: {cause}")),
        // Before any certificate: the peer's first bytes were no TLS record.
        Error::InvalidMessage(_) => no_tls(&mut tasted, &host).await,
        Error::AlertReceived(alert) => failed(format!("{host} refused TLS with the alert {alert:?}{}", hint(cause))),
        other => failed(format!("the TLS handshake with {host} failed: {}", visible(other.to_string().as_bytes()))),
    }
}

async fn no_tls(tasted: &mut Tasted, host: &str) -> Box<Fault> {
    let mut first = tasted.take();
    let start = visible(first.get(..40).unwrap_or(&first));
    let not_tls = |said: String| Fault::new(Phase::Tls, FailureKind::NotTls, said);
    if !first.starts_with(b"HTTP/") {
        return not_tls(format!("{host} does not speak TLS: it answered '{start}'; use ws://"));
    }
    let said = format!("{host} speaks plain HTTP, not TLS; use ws://, or a port that listens with ssl");
    let whole = async {
        let mut answer = answer::read_head(tasted, &mut first).await.ok()?;
        answer::read_body(tasted, first, &mut answer).await;
        answer::hide_secrets(&mut answer);
        Some(answer)
    };
    match tokio::time::timeout(TASTE_WAIT, whole).await {
        Ok(Some(answer)) => not_tls(said).with_answer(answer),
        _ => not_tls(said),
    }
}

/// Why a certificate is not trusted: the one reason that webpki stopped at, and what else is wrong with it.
fn distrust(
    why: &CertificateError,
    seen: &Seen,
    name: &ServerName<'_>,
    url: &WsUrl,
    rootless: bool,
) -> (FailureKind, String) {
    let (Some(leaf), Some(now)) = (seen.chain.first().and_then(Leaf::read), seen.now.map(moment)) else {
        return (FailureKind::TlsFailed, format!("the certificate of {} cannot be read", url.host_port()));
    };
    let wrong_name = seen.chain.first().is_some_and(|der| {
        ParsedCertificate::try_from(der).is_ok_and(|parsed| verify_server_name(&parsed, name).is_err())
    });
    let kind = reason(why, &leaf);
    let mut said = match kind {
        FailureKind::TlsExpired => said_expired(&leaf, now, url),
        FailureKind::TlsNameMismatch => {
            format!("the certificate of {} is for {}, not for {}", url.host_port(), leaf.listed_names(), url.host())
        }
        FailureKind::TlsUntrusted => said_untrusted(&leaf, seen, url, rootless),
        _ if leaf.not_before > now => {
            let from = date(leaf.not_before);
            format!(
                "the certificate of {} is not valid before {from}; check the clocks of both machines",
                url.host_port()
            )
        }
        _ => format!("the certificate of {} is refused: {why:?}", url.host_port()),
    };
    if kind != FailureKind::TlsExpired && leaf.not_after < now {
        said.push_str("; it has expired too");
    }
    if kind != FailureKind::TlsUntrusted && leaf.self_signed {
        said.push_str("; it is self-signed too");
    }
    if kind != FailureKind::TlsNameMismatch && wrong_name {
        let nameless = if leaf.names.is_empty() { " (it lists no names; its common name does not count)" } else { "" };
        said = format!("{said}; nor is it for {}{nameless}", url.host());
    }
    (kind, said)
}

fn reason(why: &CertificateError, leaf: &Leaf) -> FailureKind {
    use CertificateError as C;
    match why {
        C::Expired | C::ExpiredContext { .. } => FailureKind::TlsExpired,
        C::NotValidForName | C::NotValidForNameContext { .. } => FailureKind::TlsNameMismatch,
        // A signature that does not fit is a CA of the same name with another key: a lab CA made anew.
        C::UnknownIssuer | C::BadSignature => FailureKind::TlsUntrusted,
        // webpki's own word for a self-signed certificate with CA:TRUE is CaUsedAsEndEntity, which rustls does not translate.
        C::Other(_) if leaf.self_signed => FailureKind::TlsUntrusted,
        _ => FailureKind::TlsFailed,
    }
}

fn said_expired(leaf: &Leaf, now: Timestamp, url: &WsUrl) -> String {
    if leaf.not_after >= now {
        return format!("a certificate in the chain of {} has expired, though not the server's own", url.host_port());
    }
    let ago = crate::human::span(now.since(leaf.not_after));
    format!("the certificate of {} expired on {}, {ago} ago", url.host_port(), date(leaf.not_after))
}

fn said_untrusted(leaf: &Leaf, seen: &Seen, url: &WsUrl, rootless: bool) -> String {
    let host = url.host_port();
    if rootless {
        return format!(
            "this machine has no root certificates, so none is trusted, not that of {host} either; give --cacert"
        );
    }
    if leaf.self_signed {
        return format!("the certificate of {host} is self-signed; give it with --cacert to trust it");
    }
    let issuer = &leaf.issuer;
    if seen.chain.len() == 1 {
        return format!(
            "the issuer '{issuer}' of the certificate of {host} is not trusted, and the server sent no intermediate"
        );
    }
    format!("the issuer '{issuer}' of the certificate of {host} leads to no trusted root; give its CA with --cacert")
}
