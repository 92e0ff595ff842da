//! What can go wrong between an agent and etcd, each in one line with what to try.

use crate::connection::ConnectionError;

/// A failure to ask etcd.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Nobody answers there.
    #[error(
        "cannot connect to etcd at {endpoint}: {source}; is it running there, and does a firewall let this host in?"
    )]
    Connect {
        /// `host:port`.
        endpoint: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// No encrypted connection comes about.
    #[error(
        "no TLS connection to etcd at {endpoint}: {reason}; look at [etcd.tls] `ca`, `cert` and `key`, and at the names in etcd's certificate"
    )]
    Tls {
        /// `host:port`.
        endpoint: String,
        /// What OpenSSL says.
        reason: String,
    },
    /// The connection broke, or something answers that is no etcd.
    #[error(
        "the connection to etcd at {endpoint} broke: {reason}; does it speak HTTP there (--enable-grpc-gateway), with TLS or without as [etcd.tls] says?"
    )]
    Broken {
        /// `host:port`.
        endpoint: String,
        /// What was seen.
        reason: String,
    },
    /// It takes too long.
    #[error("etcd at {endpoint} does not answer within {seconds} s; has the cluster a leader?")]
    Slow {
        /// `host:port`.
        endpoint: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Name or password are wrong.
    #[error(
        "etcd refuses the login of {username:?}: {reason}; look at [etcd] `username` and `password_file`"
    )]
    Login {
        /// Who.
        username: String,
        /// What etcd says.
        reason: String,
    },
    /// The password cannot be read.
    #[error("no password for etcd: {reason}")]
    Password {
        /// Why.
        reason: String,
    },
    /// It answers with an error.
    #[error("etcd refuses to {what}: {reason}{}", advice(reason))]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// What etcd says.
        reason: String,
    },
    /// There is more for this host than any host has.
    #[error("etcd at {endpoint} holds more than {} MiB for this host; `logdrive item list` shows what", bytes_max >> 20)]
    TooMuch {
        /// `host:port`.
        endpoint: String,
        /// What is taken.
        bytes_max: usize,
    },
    /// It answers with something else.
    #[error("etcd at {endpoint} answers what is not understood: {reason}")]
    Unclear {
        /// `host:port`.
        endpoint: String,
        /// What was seen.
        reason: String,
    },
}

impl EtcdError {
    /// What an error of the connection means of etcd.
    pub(super) fn of(endpoint: &str, error: ConnectionError) -> EtcdError {
        let endpoint = endpoint.to_owned();
        match error {
            ConnectionError::Connect(source) => EtcdError::Connect { endpoint, source },
            ConnectionError::Tls(reason) => EtcdError::Tls { endpoint, reason },
            ConnectionError::Broken(reason) => EtcdError::Broken { endpoint, reason },
            ConnectionError::Slow(patience) => EtcdError::Slow { endpoint, seconds: patience.as_secs() },
        }
    }
}

/// What to try after a refusal in etcd's words.
fn advice(reason: &str) -> &'static str {
    if reason.contains("permission denied") {
        "; the user of [etcd] `username` needs a role that may do so"
    } else if reason.contains("user name is empty") {
        "; it wants a login: write [etcd] `username` and `password_file`"
    } else {
        ""
    }
}
