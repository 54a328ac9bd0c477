//! Encryption on the way to the server, by the connection string's `sslmode`, which means what it means to libpq.
//!
//! - `disable`: none.
//! - `prefer` (the default): if the server can. `require`: always. Whoever answers is believed, because many hosted
//!   servers have certificates of an authority of their own.
//! - `verify-full`: always, and the certificate must be for this host and from a public authority, or from one in the
//!   PEM file that `sslrootcert` names. `verify-ca`, and `require` with an `sslrootcert`, are taken for `verify-full`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Result;
use crate::StoreError;

/// Whose certificate is accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever answers.
    Anyone,
    /// Who has one from a public authority.
    PublicAuthorities,
    /// Who has one from an authority in this PEM file.
    File(PathBuf),
}

/// Takes from the connection string what only this module understands.
pub fn trust(dsn: &str) -> (String, Trust) {
    let is_url = dsn.starts_with("postgres://") || dsn.starts_with("postgresql://");
    let (address, parameters, separator) = match dsn.split_once('?') {
        Some((address, parameters)) if is_url => (Some(address), parameters, "&"),
        None if is_url => return (dsn.to_owned(), Trust::Anyone),
        _ => (None, dsn, " "),
    };
    let mut trust = Trust::Anyone;
    let mut rest = vec![];
    for parameter in parameters.split(separator) {
        match parameter.split_once('=') {
            Some(("sslmode", "verify-full" | "verify-ca")) => {
                if trust == Trust::Anyone {
                    trust = Trust::PublicAuthorities;
                }
                rest.push("sslmode=require");
            }
            Some(("sslrootcert", "system")) => trust = Trust::PublicAuthorities,
            Some(("sslrootcert", file)) => trust = Trust::File(file.trim_matches('\'').replace("%2F", "/").into()),
            _ => rest.push(parameter),
        }
    }
    let parameters = rest.join(separator);
    (address.map_or(parameters.clone(), |address| format!("{address}?{parameters}")), trust)
}

/// What makes encrypted connections to PostgreSQL.
pub fn connector(trust: &Trust) -> Result<MakeRustlsConnect> {
    let mut config = client_config(trust)?;
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn client_config(trust: &Trust) -> Result<ClientConfig> {
    let bad = |what: &str, error: &dyn std::fmt::Display| StoreError::Failed(format!("{what}: {error}"));
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("TLS cannot be used", &e))?;
    Ok(match trust {
        Trust::Anyone => {
            let verifier = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Trust::PublicAuthorities => {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::File(path) => {
            let mut roots = RootCertStore::empty();
            let what = format!("the root certificates in {}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&what, &e))? {
                roots.add(certificate.map_err(|e| bad(&what, &e))?).map_err(|e| bad(&what, &e))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    })
}

/// Believes any certificate, but not that somebody holds its key who does not.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_read_from_both_kinds_of_connection_string() {
        for (dsn, rest, expected) in [
            ("postgres://h/d", "postgres://h/d", Trust::Anyone),
            ("postgres://h/d?sslmode=require", "postgres://h/d?sslmode=require", Trust::Anyone),
            (
                "postgres://h/d?sslmode=verify-full&user=u",
                "postgres://h/d?sslmode=require&user=u",
                Trust::PublicAuthorities,
            ),
            (
                "postgresql://h/d?sslrootcert=/a/ca.pem&sslmode=verify-ca",
                "postgresql://h/d?sslmode=require",
                Trust::File("/a/ca.pem".into()),
            ),
            ("host=h password='a  b' sslmode=disable", "host=h password='a  b' sslmode=disable", Trust::Anyone),
            ("host=h sslmode=verify-full sslrootcert=system", "host=h sslmode=require", Trust::PublicAuthorities),
        ] {
            assert_eq!(trust(dsn), (rest.to_owned(), expected), "{dsn}");
        }
    }
}
